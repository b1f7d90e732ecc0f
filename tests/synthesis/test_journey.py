"""Many images at once: in order whatever the order of arrival, bounded, and nothing vanishes."""

import asyncio
import gc
import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpt.errors import Denied, Interrupted, RecipeError, Unavailable
from lpt.models.base import Image, Request
from lpt.records import Caption, Drop, Stage
from lpt.settings import AskSettings, BudgetSettings, ThinkHarderSettings, ThinkSettings
from lpt.synthesis.journey import Travel, Trip, Until, journey
from tests.scripted import IMAGE, Scripted, caption, settle

# Many images: `journey` over ways that end when the test says so


class Roads:
    """Ways that are under way until they are let go, one by one."""

    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Future[None]] = {}
        self.most = 0
        self.furthest = 0
        self.cancelled: set[int] = set()

    async def __call__(self, of: Caption, rank: int) -> Trip:
        self.waiting[rank] = asyncio.get_running_loop().create_future()
        self.most = max(self.most, len(self.waiting))
        self.furthest = max(self.furthest, rank)
        try:
            await self.waiting[rank]
        except asyncio.CancelledError:
            self.cancelled.add(rank)
            raise
        finally:
            del self.waiting[rank]
        return Trip(of)

    def end(self, rank: int, error: Exception | None = None) -> None:
        if error:
            self.waiting[rank].set_exception(error)
        else:
            self.waiting[rank].set_result(None)


class Watched:
    """A journey under way, with what it has yielded so far."""

    def __init__(self, count: int, in_flight: int) -> None:
        self.captions = [caption(str(i)) for i in range(count)]
        self.roads = Roads()
        self.yielded: list[Caption] = []
        self.taken = 0
        self.task = asyncio.ensure_future(self._all(in_flight))

    def _source(self) -> Iterator[Caption]:
        for one in self.captions:
            self.taken += 1
            yield one

    async def _all(self, in_flight: int) -> None:
        async for trip in journey(self._source(), self.roads, in_flight=in_flight):
            self.yielded.append(trip.caption)

    @property
    def ranks(self) -> list[int]:
        return [self.captions.index(one) for one in self.yielded]


@settings(max_examples=60)
@given(
    count=st.integers(0, 40),
    in_flight=st.integers(1, 6),
    picks=st.lists(st.integers(0, 1000), min_size=40, max_size=40),
)
def test_trips_come_in_the_order_of_the_captions_whatever_the_order_of_arrival(
    count: int, in_flight: int, picks: list[int]
) -> None:
    async def scenario() -> None:
        way = Watched(count, in_flight)
        left = list(picks)
        await settle()
        while way.roads.waiting:
            out = sorted(way.roads.waiting)
            assert len(out) <= in_flight
            # Full use is made of what is allowed, unless everything has set out or the buffer is full.
            head = len(way.yielded)
            assert len(out) == in_flight or way.taken == count or way.taken - head == 4 * in_flight
            assert max(out) - head < 4 * in_flight
            way.roads.end(out[left.pop() % len(out)])
            await settle()
        await way.task
        assert way.ranks == list(range(count))
        assert way.roads.most <= in_flight

    asyncio.run(scenario())


async def test_one_slow_image_holds_others_back_only_within_reason() -> None:
    way = Watched(100, 3)
    await settle()
    while others := [rank for rank in way.roads.waiting if rank]:
        way.roads.end(others[0])
        await settle()
    assert way.roads.furthest == 11, "no more than 4 x in_flight ahead of the slowest"
    assert way.taken == 12
    assert way.yielded == []
    way.roads.end(0)
    await settle()
    assert way.ranks == list(range(12))
    way.task.cancel()
    await asyncio.gather(way.task, return_exceptions=True)


async def test_captions_are_read_as_they_are_needed() -> None:
    way = Watched(1000, 5)
    await settle()
    assert way.taken == 5
    way.task.cancel()
    await asyncio.gather(way.task, return_exceptions=True)


async def test_an_error_for_good_ends_all() -> None:
    way = Watched(20, 4)
    await settle()
    way.roads.end(2, Denied("wrong key", kind="http-401"))
    with pytest.raises(Denied):
        await way.task
    assert way.roads.cancelled == {0, 1, 3}
    assert way.roads.waiting == {}


async def test_when_a_model_has_failed_for_good_what_came_through_is_yielded_first() -> None:
    way = Watched(20, 4)
    await settle()
    way.roads.end(1)
    await settle()
    assert way.yielded == [], "it waits for the one before it"
    way.roads.end(0, Denied("wrong key", kind="http-401"))
    with pytest.raises(Denied):
        await way.task
    assert way.ranks == [1]
    assert way.roads.waiting == {}


async def test_a_bug_of_ours_is_raised_at_once() -> None:
    way = Watched(20, 4)
    await settle()
    way.roads.end(1)
    way.roads.end(0, KeyError("bug"))
    with pytest.raises(KeyError):
        await way.task
    assert way.yielded == []


async def test_interrupted_yields_what_came_through_then_says_so() -> None:
    way = Watched(20, 4)
    await settle()
    way.roads.end(1)
    await settle()
    way.roads.end(0, Interrupted("stop"))
    await settle()
    assert not way.task.done(), "those that are out come to their own end"
    assert sorted(way.roads.waiting) == [2, 3, 4]
    way.roads.end(4)
    way.roads.end(3, Interrupted("stop"))
    await settle()
    way.roads.end(2)
    with pytest.raises(Interrupted):
        await way.task
    assert way.ranks == [1, 2, 4], "in order, without those that were stopped"
    assert way.taken == 5, "no new one set out"
    assert way.roads.cancelled == set()


async def test_whoever_stops_listening_stops_the_journey() -> None:
    roads = Roads()
    trips = journey(iter([caption(str(i)) for i in range(9)]), roads, in_flight=3)
    first = asyncio.ensure_future(anext(trips))
    await settle()
    roads.end(0)
    await first
    await trips.aclose()
    assert roads.waiting == {}
    assert roads.cancelled == {1, 2}


async def test_a_source_that_breaks_ends_the_journey() -> None:
    def source() -> Iterator[Caption]:
        yield caption("0")
        raise KeyError

    roads = Roads()
    with pytest.raises(KeyError):
        await anext(journey(source(), roads, in_flight=3))
    assert roads.waiting == {}


async def test_of_errors_that_come_together_one_is_raised_and_none_makes_noise() -> None:
    noise: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: noise.append(context))
    way = Watched(4, 4)
    await settle()
    for rank in range(4):
        way.roads.end(rank, Denied("wrong key", kind="http-401"))
    with pytest.raises(Denied):
        await way.task
    del way
    gc.collect()
    await settle()
    assert noise == []


# One image: `Travel` through scripted models


def questions(*stems: str) -> str:
    return json.dumps(
        {
            "questions": [
                {
                    "question": stem,
                    "options": ["red", "blue", "green", "white"],
                    "answer": "blue",
                    "type": "recognition",
                }
                for stem in stems
            ]
        }
    )


def student(request: Request, i: int) -> str:
    """Says the letter before "blue", or for sample 1 nothing that can be read."""
    if i == 1:
        return "<think>Hm.</think> I cannot tell."
    line = next(line for line in request.messages[-1].text.splitlines() if line.endswith("blue"))
    return f"<think>Sample {i} sees blue.</think> <answer>{line.removesuffix('blue').strip()}</answer>"


Says = Callable[[Request, int], str]


def reasoner(request: Request, i: int) -> str:
    return " I look again.</think> <answer>blue</answer>" if i else " so"


class Told:
    """What `tell` was told."""

    def __init__(self) -> None:
        self.kept: Counter[Stage] = Counter()
        self.dropped: Counter[Stage] = Counter()

    def __call__(self, stage: Stage, kept: int, dropped: int) -> None:
        self.kept[stage] += kept
        self.dropped[stage] += dropped


async def prepare(_caption: Caption) -> Image | Drop:
    return IMAGE


TWO = questions("One?", "Two?")


def travel(
    asker: Says | str = TWO,
    think: Says = student,
    harder: Says = reasoner,
    *,
    until: Until = "think_harder",
    tell: Told | None = None,
    prepare: Any = prepare,
    gate: Any = None,
    **harder_settings: Any,
) -> tuple[Travel, list[Scripted]]:
    models = [Scripted(asker), Scripted(think, gate=gate), Scripted(harder, gate=gate)]
    way = Travel(
        {"a": models[0], "s": models[1], "r": models[2]},
        AskSettings(model="a", reparse=False),
        ThinkSettings(model="s", samples=3),
        ThinkHarderSettings(model="r", **{"samples": 2, "rewinds": 0, **harder_settings}),
        budget=BudgetSettings(mode="exhaustive"),
        seed=0,
        until=until,
        prepare=prepare,
        tell=tell or Told(),
    )
    return way, models


def drops_of(trip: Trip, stage: Stage) -> list[str]:
    return [drop.reason for drop in trip.drops if drop.stage == stage]


async def test_an_image_fans_out_and_made_is_kept_and_dropped() -> None:
    told = Told()
    way, (asker, student_model, reasoner_model) = travel(questions("One?", "Two?", "One?"), tell=told)
    trip = await way(caption(), 7)
    assert len(trip.questions) == 2
    assert drops_of(trip, "ask") == ["asked-twice"]
    assert len(trip.thoughts) == 6
    assert drops_of(trip, "think") == ["unparsed"] * 2
    # 2 questions x 2 useful thoughts x 3 cues x 2 samples
    assert len(trip.long_thoughts) == 24
    assert Counter(drops_of(trip, "think_harder")) == {"unparsed": 12}
    assert told.kept == {"ask": 2, "think": 4, "think_harder": 12}
    assert told.dropped == {"ask": 1, "think": 2, "think_harder": 12}
    calls = [len(model.requests) for model in (asker, student_model, reasoner_model)]
    assert calls == [1, 2, 12]
    assert {request.rank for model in (asker, student_model, reasoner_model) for request in model.requests} == {7}
    assert len({drop.id for drop in trip.drops}) == len(trip.drops)


async def test_useless_thoughts_are_not_thought_further() -> None:
    way, (_, _, reasoner_model) = travel()
    trip = await way(caption(), 0)
    useless = {drop.record for drop in trip.drops if drop.stage == "think"}
    assert useless
    assert not useless & {request.record for request in reasoner_model.requests}


@pytest.mark.parametrize(
    ("until", "calls"), [("ask", [1, 0, 0]), ("think", [1, 2, 0]), ("think_harder", [1, 2, 12])]
)
async def test_a_journey_ends_after_the_stage_that_it_is_told(until: Until, calls: list[int]) -> None:
    way, models = travel(until=until)
    await way(caption(), 0)
    assert [len(model.requests) for model in models] == calls


def shuffled(picks: list[int]) -> Any:
    """A gate that lets calls go in an order of its own."""
    waiting: list[asyncio.Future[None]] = []
    left = list(picks)

    async def gate(_request: Request) -> None:
        done = asyncio.get_running_loop().create_future()
        waiting.append(done)
        if len(waiting) == 1:
            asyncio.ensure_future(release())  # noqa: RUF006 (it ends when nobody waits)
        await done

    async def release() -> None:
        await settle()
        while waiting:
            pick = left.pop() if left else 0
            waiting.pop(pick % len(waiting)).set_result(None)
            await settle()

    return gate


@settings(max_examples=25)
@given(picks=st.lists(st.integers(0, 1000), max_size=20))
def test_a_trip_is_the_same_whatever_the_order_of_the_replies(picks: list[int]) -> None:
    plain = asyncio.run(travel()[0](caption(), 0))
    mixed = asyncio.run(travel(gate=shuffled(picks))[0](caption(), 0))
    assert mixed == plain
    order = {q.id: i for i, q in enumerate(plain.questions)}
    assert [order[t.question] for t in plain.thoughts] == [0, 0, 0, 1, 1, 1]
    assert [t.index for t in plain.thoughts] == [0, 1, 2] * 2
    assert [(t.cue, t.index) for t in plain.long_thoughts[:6]] == [
        (cue, i) for cue in ("Wait,", "Hmm,", "Alternatively,") for i in (0, 1)
    ]
    assert plain.drops == sorted(plain.drops, key=lambda drop: (drop.stage, drop.id))


async def test_a_failed_call_costs_its_own_branch_and_becomes_a_drop_for_each_sample() -> None:
    def broken(request: Request, i: int) -> str:
        if "One?" in request.messages[-1].text:
            raise Unavailable("no byte in 300 s", kind="timeout")
        return student(request, i)

    told = Told()
    trip = await travel(think=broken, tell=told)[0](caption(), 0)
    failed = [drop for drop in trip.drops if drop.reason == "call-failed"]
    one = next(q for q in trip.questions if q.stem == "One?")
    assert [(drop.stage, drop.record, drop.detail) for drop in failed] == [("think", one.id, "timeout")] * 3
    assert len({drop.id for drop in failed}) == 3
    assert {t.question for t in trip.thoughts} == {q.id for q in trip.questions} - {one.id}
    assert told.kept["think"] + told.dropped["think"] == 6
    assert len(trip.long_thoughts) == 12


async def test_a_failed_cue_costs_itself_alone() -> None:
    def broken(request: Request, i: int) -> str:
        if (request.prefill or "").endswith("Hmm,"):
            raise Unavailable("reset", kind="reset")
        return reasoner(request, i)

    told = Told()
    trip = await travel(harder=broken, tell=told)[0](caption(), 0)
    failed = [drop for drop in trip.drops if drop.reason == "call-failed"]
    assert {drop.detail for drop in failed} == {"reset Hmm,"}
    assert len(failed) == len({drop.id for drop in failed}) == 4 * 2
    assert {t.cue for t in trip.long_thoughts} == {"Wait,", "Alternatively,"}
    assert told.kept["think_harder"] + told.dropped["think_harder"] == 24


async def test_a_caption_that_nobody_asked_about_is_one_drop() -> None:
    def broken(_request: Request, _i: int) -> str:
        raise Unavailable("reset", kind="reset")

    told = Told()
    trip = await travel(asker=broken, tell=told)[0](caption(), 0)
    assert [(drop.stage, drop.reason, drop.record) for drop in trip.drops] == [("ask", "call-failed", caption().id)]
    assert (told.kept["ask"], told.dropped["ask"]) == (0, 1)


async def test_an_image_that_is_gone_is_one_drop_and_nothing_is_asked() -> None:
    async def gone(of: Caption) -> Drop:
        return Drop.make("ask", of.id, of.image, "image-gone", of.path)

    told = Told()
    way, models = travel(prepare=gone, tell=told)
    trip = await way(caption(), 0)
    assert [drop.reason for drop in trip.drops] == ["image-gone"]
    assert told.dropped == {"ask": 1}
    assert [model.requests for model in models] == [[], [], []]


async def test_a_fatal_error_stops_all_and_cancels_what_is_out() -> None:
    never = asyncio.Event()

    async def gate(request: Request) -> None:
        if "One?" in request.messages[-1].text:
            await never.wait()

    def broken(request: Request, _i: int) -> str:
        raise Denied("wrong key", kind="http-401")

    way, (_, student_model, _) = travel(think=broken, gate=gate)
    with pytest.raises(Denied):
        await way(caption(), 0)
    assert student_model.out == 0
    assert student_model.cancelled == 1


async def test_many_fatal_errors_at_once_make_no_noise() -> None:
    noise: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: noise.append(context))

    def broken(_request: Request, _i: int) -> str:
        raise Denied("wrong key", kind="http-401")

    with pytest.raises(Denied):
        await travel(questions("One?", "Two?", "Three?", "Four?"), think=broken)[0](caption(), 0)
    gc.collect()
    await settle()
    assert noise == []


async def test_when_one_call_is_interrupted_its_siblings_still_come_home() -> None:
    home = asyncio.Event()

    async def gate(request: Request) -> None:
        if "Two?" in request.messages[-1].text:
            await home.wait()

    def stopped(request: Request, i: int) -> str:
        if "One?" in request.messages[-1].text:
            raise Interrupted("stopped before a new call")
        return student(request, i)

    way, (_, student_model, _) = travel(think=stopped, gate=gate, until="think")
    task = asyncio.ensure_future(way(caption(), 0))
    await settle()
    assert not task.done()
    assert student_model.out == 1
    home.set()
    with pytest.raises(Interrupted):
        await task
    assert student_model.cancelled == 0


async def test_a_bug_of_ours_is_no_failed_call() -> None:
    def bug(_request: Request, _i: int) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await travel(think=bug)[0](caption(), 0)


def test_prompt_files_are_looked_at_before_anything_is_asked() -> None:
    with pytest.raises(RecipeError, match=r"think_harder\.prompt"):
        travel(prompt="/none.txt")


async def test_a_hundred_images_leave_no_tasks_behind() -> None:
    way, _ = travel(questions("One?"), until="think")
    captions = [caption(str(i)) for i in range(100)]
    trips = [trip async for trip in journey(iter(captions), way, in_flight=16)]
    assert [trip.caption for trip in trips] == captions
    assert asyncio.all_tasks() == {asyncio.current_task()}
