"""A budget by quotas: enough is drawn and no more, in an order that nothing but the verdicts decides."""

import asyncio
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lpt.models.base import Choice, Image, Request
from lpt.records import Caption, LongThought, Thought, Verdict
from lpt.settings import AskSettings, BudgetSettings, ThinkHarderSettings, ThinkSettings
from lpt.synthesis.budget import Line, more_thoughts, wanted
from lpt.synthesis.journey import Travel, Trip
from tests.scripted import IMAGE, Scripted, caption, long_thought, settle, thought

CUES = ("Wait,", "Hmm,", "Alternatively,")
ASKED = (
    "<question> What colour is the car? </question> <choices> (A) red (B) blue (C) green (D) white </choices> "
    "<answer> blue </answer> <type> recognition </type>"
)


def settings(**given: Any) -> BudgetSettings:
    return BudgetSettings(**given)


def thoughts(*verdicts: Verdict) -> list[Thought]:
    return [thought(id=f"t{i}", index=i, verdict=verdict) for i, verdict in enumerate(verdicts)]


def drawn(verdicts: list[Verdict | None], most: int, budget: BudgetSettings) -> int:
    """How many thoughts are drawn of a student that would say these."""
    count = 0
    while more := more_thoughts(verdicts[:count], most, budget):
        count += more
    return count


RIGHT: Verdict = "correct"
WRONG: Verdict = "wrong"


def test_thoughts_are_drawn_until_there_are_right_and_wrong_ones_enough() -> None:
    budget = settings(batch=2, thoughts=2, patience=0)
    assert drawn([RIGHT, WRONG, RIGHT, WRONG, RIGHT, WRONG], 6, budget) == 4
    assert drawn([RIGHT, RIGHT, RIGHT, RIGHT, WRONG, WRONG], 6, budget) == 6
    assert drawn([None, None, RIGHT, WRONG, WRONG, RIGHT, RIGHT, RIGHT], 8, budget) == 6, "None is neither"
    assert drawn([RIGHT] * 9, 9, budget) == 9, "without patience to lose, up to the bound"


def test_no_more_are_drawn_at_once_than_could_be_wanted() -> None:
    assert more_thoughts([], 10, settings(batch=5, thoughts=2)) == 2
    assert more_thoughts([RIGHT, WRONG], 10, settings(batch=5, thoughts=2)) == 1
    assert more_thoughts([RIGHT, RIGHT], 10, settings(batch=5, thoughts=2)) == 2


def test_what_mostly_goes_one_way_is_not_waited_for() -> None:
    budget = settings(batch=1, thoughts=2, patience=2)
    assert drawn([RIGHT] * 10, 10, budget) == 4
    assert drawn([WRONG] * 10, 10, budget) == 4
    assert drawn([RIGHT, RIGHT, RIGHT, WRONG, RIGHT, WRONG, RIGHT], 7, budget) == 6
    assert drawn([RIGHT, RIGHT, WRONG, RIGHT, RIGHT, WRONG], 6, budget) == 5
    assert drawn([None] * 10, 10, budget) == 2


def test_who_wants_none_of_a_kind_draws_none_for_it() -> None:
    assert drawn([WRONG, WRONG, RIGHT, RIGHT], 4, settings(batch=1, thoughts=2, right=0)) == 2


@given(
    verdicts=st.lists(st.sampled_from([RIGHT, WRONG, None]), min_size=12, max_size=12),
    most=st.integers(1, 12),
    batch=st.integers(1, 4),
    wanted_thoughts=st.integers(1, 4),
    patience=st.integers(0, 5),
)
def test_never_more_than_the_bound_and_exhaustive_is_the_bound(
    verdicts: list[Verdict | None], most: int, batch: int, wanted_thoughts: int, patience: int
) -> None:
    quota = settings(batch=batch, thoughts=wanted_thoughts, patience=patience)
    assert 1 <= drawn(verdicts, most, quota) <= most
    assert drawn(verdicts, most, settings(mode="exhaustive")) == most


def line(of: list[Thought], samples: int = 2, **given: Any) -> Line:
    return Line(of, CUES, samples, settings(**given), 0)


def right(verdict: str = "correct") -> LongThought:
    return long_thought(verdict=verdict)


def test_each_thought_comes_once_before_any_comes_twice_and_cues_take_turns() -> None:
    slots = line(thoughts(WRONG, WRONG), mended=12, tries=0).next()
    assert [slot.thought.id for slot in slots[:4]] == ["t0", "t1", "t0", "t1"]
    assert len(set(slots)) == 12, "every sample after every cue, once"
    assert {slot.sample for slot in slots[:6]} == {0}, "all cues before a second sample"
    assert {slot.cue for slot in slots if slot.thought.id == "t0"} == set(CUES)


def test_over_many_questions_each_cue_is_first_about_as_often() -> None:
    first = Counter(line([thought(id=str(i))], mended=1).next()[0].cue for i in range(300))
    assert set(first) == set(CUES)
    assert min(first.values()) > 60


def test_it_asks_for_as_many_as_are_still_wanted() -> None:
    way = line(thoughts(WRONG, WRONG, WRONG), mended=3, tries=0)
    assert len(way.next()) == 3
    way.came([right(), right("wrong"), None])
    assert len(way.next()) == 2
    way.came([right(), right()])
    assert way.next() == []


def test_it_gives_up_after_so_many_in_vain() -> None:
    way = line(thoughts(WRONG, WRONG), mended=2, tries=4)
    way.came([right("wrong") for _ in way.next()])
    way.came([right("wrong") for _ in way.next()])
    assert way.next() == []


def test_wanted_is_what_a_set_can_use() -> None:
    assert wanted(right())
    assert not wanted(right("wrong"))
    assert not wanted(long_thought(verdict="unparsed"))
    assert not wanted(long_thought(continuation=" the description says it is blue."))
    assert not wanted(long_thought(continuation=""))


# The whole journey of one image, by quotas


async def prepare(_: Caption) -> Image:
    return IMAGE


def travel(student: Scripted, reasoner: Scripted, **given: Any) -> Travel:
    return Travel(
        {"a": Scripted(ASKED), "s": student, "r": reasoner},
        AskSettings(model="a", structured=False, reparse=False, questions=1),
        ThinkSettings(model="s", samples=10, formats=("text",)),
        ThinkHarderSettings(model="r", samples=3, cues=CUES, rewinds=0),
        budget=settings(**given),
        seed=0,
        prepare=prepare,
    )


def says(colour: str) -> str:
    return f"<think>It is {colour}.</think> <answer>{colour}</answer>"


def by_seed(request: Request, i: int) -> str:
    """A student of whom every other thought is right, sample by sample."""
    return says("blue" if (request.seed + i) % 2 else "red")


def continues(request: Request, i: int) -> Choice:
    return Choice(text=f" I look again ({request.seed + i}).</think> <answer>blue</answer>")


async def go(student: Any, reasoner: Any, **given: Any) -> tuple[Trip, Scripted, Scripted]:
    models = Scripted(student), Scripted(reasoner)
    return await travel(*models, **given)(caption(), 0), *models


async def test_enough_is_made_and_no_more() -> None:
    trip, student, reasoner = await go(by_seed, continues, batch=2, thoughts=2, right=3, mended=2)
    assert Counter(t.verdict for t in trip.thoughts) == {"correct": 2, "wrong": 2}
    assert [request.n for request in student.requests] == [2, 1, 1]
    assert student.requests[1].seed == student.requests[0].seed + 2, "the samples go on where they stopped"
    made = Counter(f"{long.before} {long.verdict}" for long in trip.long_thoughts)
    assert made == {"correct correct": 3, "wrong correct": 2}
    assert all(request.n == 1 for request in reasoner.requests)


async def test_what_comes_by_quotas_is_part_of_what_comes_exhaustively() -> None:
    quota, _, _ = await go(by_seed, continues, right=3, mended=5)
    whole, _, _ = await go(by_seed, continues, mode="exhaustive")
    assert {t.id for t in quota.thoughts} <= {t.id for t in whole.thoughts}
    assert {t.id for t in quota.long_thoughts} < {t.id for t in whole.long_thoughts}
    assert len(whole.long_thoughts) == 10 * len(CUES) * 3


async def test_a_question_that_is_never_put_right_is_tried_so_often_and_left() -> None:
    def never(request: Request, i: int) -> str:
        return " it stays red.</think> <answer>red</answer>"

    trip, _, reasoner = await go(says("red"), never, patience=2, mended=1, tries=5)
    assert len(trip.thoughts) == 3, "one that is wanted, two in vain"
    assert len(reasoner.requests) == 5
    trip, _, reasoner = await go(says("red"), never, patience=2, mended=1, tries=0)
    assert len(reasoner.requests) == 3 * len(CUES) * 3, "or up to the bound"


@given(order=st.lists(st.integers(0, 1000), min_size=30, max_size=30))
def test_tables_do_not_depend_on_when_replies_come(order: list[int]) -> None:
    async def scenario() -> Trip:
        waiting: list[asyncio.Future[None]] = []

        async def gate(_: Request) -> None:
            waiting.append(asyncio.get_running_loop().create_future())
            await waiting[-1]

        way = travel(Scripted(by_seed, gate=gate), Scripted(continues, gate=gate), right=4, mended=3)
        task = asyncio.ensure_future(way(caption(), 0))
        left = list(order)
        while not task.done():
            await settle()
            if waiting:
                waiting.pop((left.pop() if left else 0) % len(waiting)).set_result(None)
        return task.result()

    async def calm() -> Trip:
        return await travel(Scripted(by_seed), Scripted(continues), right=4, mended=3)(caption(), 0)

    trip, other = asyncio.run(scenario()), asyncio.run(calm())
    assert (trip.thoughts, trip.long_thoughts, trip.drops) == (other.thoughts, other.long_thoughts, other.drops)
