"""The checks of `lpt verify`, one question at a time: what is asked, and what is made of replies."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.curate import verify
from lpt.curate.verify import Asked, Trace, orders
from lpt.errors import Denied, Unavailable
from lpt.models.base import Choice, Image, Reply, Request
from lpt.records import LETTERS, Judgement, Question
from lpt.settings_verify import BlindSettings, ConsistencySettings, DisagreeSettings

QUESTION = Question(
    id="q" * 32,
    caption="c",
    image="i",
    index=0,
    stem="How many are there?",
    options=("two", "three", "four", "five"),
    answer="B",
    kind="counting",
    answer_format="(X)",
    system="",
    prompt="",
    reply=None,
    split="train",
)
PICTURE = Image(key="k", data=b"")


class Says:
    """A model that answers as a function of the options that it is shown, and remembers what it was asked."""

    def __init__(self, say: Callable[[list[str], int], str]) -> None:
        self.say = say
        self.asked: list[Request] = []

    async def ask(self, request: Request) -> Reply:
        self.asked.append(request)
        lines = request.messages[-1].text.splitlines()
        shown = [line[4:] for line in lines if line[:1] == "(" and line[2:4] == ") "]
        texts = [self.say(shown, len(self.asked) + i) for i in range(request.n)]
        return Reply(choices=tuple(Choice(text=f"<answer>{text}</answer>") for text in texts))


def letter_of(option: str) -> Callable[[list[str], int], str]:
    return lambda shown, _: f"({LETTERS[shown.index(option)]})"


async def blind(say: Callable[[list[str], int], str], samples: int = 4) -> Judgement:
    settings = BlindSettings(model="m", samples=samples)
    return await verify.blind(Asked(Says(say), "m", 0), QUESTION, settings)


async def disagree(say: Callable[[list[str], int], str], samples: int = 4) -> Judgement:
    settings = DisagreeSettings(model="m", samples=samples)
    return await verify.disagree(Asked(Says(say), "m", 0), QUESTION, PICTURE, settings)


@given(options=st.lists(st.text(min_size=1, max_size=4), min_size=2, max_size=6, unique=True), seed=st.integers())
def test_each_option_stands_in_each_place_equally_often(options: list[str], seed: int):
    shown = [order for order, _ in zip(orders(options, "q", seed, "blind"), range(2 * len(options)), strict=False)]
    for half in (shown[: len(options)], shown[len(options) :]):
        for place in range(len(options)):
            assert sorted(order[place] for order in half) == sorted(options)
    again = [order for order, _ in zip(orders(options, "q", seed, "blind"), shown, strict=False)]
    assert again == shown


async def test_a_liking_for_a_letter_is_worth_exactly_chance():
    def likes(letter: str) -> Callable[[list[str], int], str]:
        return lambda _shown, _: letter

    for letter in "ABCD":
        assert (await blind(likes(letter), 8)).value == 0.25


async def test_who_knows_the_answer_is_found_whatever_the_order():
    found = await blind(letter_of("three"))
    assert (found.value, found.said, found.outcome) == (1.0, "B B B B", "judged")
    assert (await blind(letter_of("two"))).value == 0.0


async def test_no_image_is_sent_with_a_blind_question_and_one_with_the_other():
    for image in (False, True):
        model = Says(letter_of("two"))
        asked = Asked(model, "m", 0)
        if image:
            await verify.disagree(asked, QUESTION, PICTURE, DisagreeSettings(model="m"))
        else:
            await verify.blind(asked, QUESTION, BlindSettings(model="m"))
        assert {message.images for request in model.asked for message in request.messages} == {
            (PICTURE,) if image else ()
        }
        assert len({request.seed for request in model.asked}) == len(model.asked)


async def test_disagreement_is_the_lead_of_the_favourite_over_the_marked_answer():
    assert (await disagree(letter_of("three"))).value == -1.0
    assert (await disagree(letter_of("five"))).value == 1.0
    turns = ["three", "five", "five", "two"]
    assert (await disagree(lambda shown, n: letter_of(turns[n - 1])(shown, n))).value == 0.25
    # A tie is no disagreement.
    assert (await disagree(lambda shown, n: letter_of(("three", "five")[n % 2])(shown, n))).value == 0.0


async def test_what_cannot_be_read_is_neither_a_yes_nor_a_no():
    half = await blind(lambda shown, n: letter_of("three")(shown, n) if n % 2 else "I cannot see it")
    assert (half.outcome, half.value) == ("judged", 1.0)
    most = await blind(lambda shown, n: letter_of("three")(shown, n) if n == 1 else "I cannot see it")
    assert (most.outcome, most.value) == ("unparsed", None)
    assert sorted(most.said.split()) == ["?", "?", "?", "B"]


class Fails:
    """A model whose calls fail."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def ask(self, request: Request) -> Reply:
        raise self.error


async def test_a_call_that_fails_is_an_outcome_and_a_fatal_one_an_error():
    settings = BlindSettings(model="m", samples=2)
    found = await verify.blind(Asked(Fails(Unavailable("gone", kind="reset")), "m", 0), QUESTION, settings)
    assert (found.outcome, found.value, found.said, found.replies) == ("failed", None, "! !", ())
    with pytest.raises(Denied):
        await verify.blind(Asked(Fails(Denied("no", kind="http-401")), "m", 0), QUESTION, settings)


async def consistency(say: Callable[[list[str], int], str], thought: str = "So it is (B) three.") -> Judgement:
    model = Says(say)
    trace = Trace("t" * 32, "i", thought, "B")
    found = await verify.consistency(Asked(model, "m", 0), trace, QUESTION, ConsistencySettings(model="m"))
    (request,) = model.asked
    assert thought in request.messages[0].text
    assert request.n == 3
    return found


async def test_the_judge_is_not_told_the_answer_and_may_say_that_there_is_none():
    assert (await consistency(letter_of("three"))).value == 1.0
    assert (await consistency(letter_of("four"))).value == 0.0
    neither = await consistency(letter_of(verify.NEITHER))
    assert (neither.value, neither.said, neither.outcome) == (0.0, "- - -", "judged")
    # What is asked does not depend on what is stated.
    texts = set()
    for letter in "AB":
        model = Says(letter_of("two"))
        trace = Trace("t" * 32, "i", "Hmm.", letter)
        await verify.consistency(Asked(model, "m", 0), trace, QUESTION, ConsistencySettings(model="m"))
        texts.add(model.asked[0].messages[0].text)
    assert len(texts) == 1
