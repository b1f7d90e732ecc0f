"""Verify: checks that ask a model about what was made, each reply turned into evidence, never into a verdict.

blind        The question without its image. Whoever answers it all the same has not looked, and a question that can
             be answered so teaches nobody to look.
disagree     Image and question, to a VLM that is best a stronger one. The caption decided what is right; where
             another pair of eyes keeps seeing something else, the caption, or whoever read it, may be wrong.
consistency  A long thought without its answer: which option does it come to? A trace that thinks one thing and
             answers another teaches that thinking does not matter (paper, section 3).

For consistency the answer is *withheld* and compared here. A judge that is shown it is asked to agree with it, and
says yes too easily; one that must name an option has nothing to lean on, a blind guess agrees one time in five
instead of two, and what it names can be read by whoever doubts it.

A reply that cannot be read, and one that never came, are outcomes of their own. If fewer than half of the samples
can be read, nothing is concluded: a model that declines four times and guesses once has not answered.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec

from lpt.errors import ModelError
from lpt.models.base import Choice, Image, Message, Model, Request, Sampling, seed_of
from lpt.records import LETTERS, Check, Judgement, Outcome, Question, digest
from lpt.settings_verify import BlindSettings, CheckSettings, ConsistencySettings, DisagreeSettings
from lpt.synthesis import grade, present, prompts
from lpt.synthesis.journey import together

NEITHER = "The thoughts come to none of these, or end undecided"
FAILED, UNREADABLE, NONE = "!", "?", "-"


class Asked(msgspec.Struct, frozen=True):
    """A model to ask: the seam, and the name under which a judgement remembers it."""

    model: Model
    name: str
    seed: int
    rank: int = 0


class Trace(msgspec.Struct, frozen=True):
    """A long thought to be checked."""

    id: str
    image: str
    thought: str
    """The whole of it, the student's words included: a reflection that says "yes, that fits" leans on them."""
    letter: str
    """The answer that it states."""


class _Said(msgspec.Struct, frozen=True):
    letter: str
    key: str | None = None


def template(check: Check, settings: CheckSettings) -> str:
    """The prompt of a check, to be filled.

    Raises:
        RecipeError: the user's file cannot be used.
    """
    required = ("question", "thoughts") if check == "consistency" else ("question",)
    return prompts.load(f"verify.{check}", settings.prompt, required, "lpt.curate.prompts")


def orders(options: Sequence[str], question: str, seed: int, purpose: str) -> Iterator[tuple[str, ...]]:
    """Orders in which to show options, without end: a drawn one and its rotations, then another drawn one, ….

    In as many of them as there are options each option stands once in each place, so that a liking for a place
    favours none of them.
    """
    turn = 0
    while True:
        drawn = sorted(options, key=lambda option: digest(seed, question, f"{purpose} order {turn}", option))
        for shift in range(len(drawn)):
            yield (*drawn[shift:], *drawn[:shift])
        turn += 1


async def blind(asked: Asked, question: Question, settings: BlindSettings) -> Judgement:
    """Ask a question without its image, `samples` times.

    Raises:
        ModelError: a fatal one; any other is part of the judgement.
    """
    said = await _choose(asked, question, settings, "blind", None)

    def share(letters: list[str]) -> float:
        return letters.count(question.answer) / len(letters)

    return _judgement("blind", question.id, question.image, asked, said, share)


async def disagree(asked: Asked, question: Question, image: Image, settings: DisagreeSettings) -> Judgement:
    """Show a question with its image, `samples` times.

    Raises:
        ModelError: a fatal one; any other is part of the judgement.
    """
    said = await _choose(asked, question, settings, "disagree", image)

    def margin(letters: list[str]) -> float:
        votes = Counter(letters)
        marked = votes.pop(question.answer, 0)
        return (max(votes.values(), default=0) - marked) / len(letters)

    return _judgement("disagree", question.id, question.image, asked, said, margin)


async def consistency(asked: Asked, trace: Trace, question: Question, settings: ConsistencySettings) -> Judgement:
    """Ask what a long thought comes to, `samples` times.

    Raises:
        ModelError: a fatal one; any other is part of the judgement.
    """
    # The options as they were shown: the thought may speak of them by letter.
    options = (*question.options, NEITHER)
    shown = present.prompt(question.stem, options, "(X)")
    words = prompts.fill(template("consistency", settings), question=shown, thoughts=trace.thought)
    # With temperature 0 all samples of one prompt are the same, and some servers refuse n > 1.
    n = settings.samples if settings.temperature else 1
    said = await _ask(asked, "consistency", trace.id, trace.image, (Message("user", words),), settings, options, n)
    last = LETTERS[len(question.options)]
    said = [msgspec.structs.replace(one, letter=NONE) if one.letter == last else one for one in said]

    def share(letters: list[str]) -> float:
        return letters.count(trace.letter) / len(letters)

    return _judgement("consistency", trace.id, trace.image, asked, said, share)


async def _choose(
    asked: Asked, question: Question, settings: BlindSettings | DisagreeSettings, check: Check, image: Image | None
) -> list[_Said]:
    """Put a question so many times, its options in another order each time; letters as in the question."""
    words = template(check, settings)
    images = (image,) if image else ()

    async def once(number: int, options: tuple[str, ...]) -> list[_Said]:
        shown = prompts.fill(words, question=present.prompt(question.stem, options, "(X)"))
        messages = (Message("user", shown, images),)
        said = await _ask(asked, check, question.id, question.image, messages, settings, options, 1, number)
        place = {letter: LETTERS[question.options.index(o)] for letter, o in zip(LETTERS, options, strict=False)}
        return [msgspec.structs.replace(one, letter=place.get(one.letter, one.letter)) for one in said]

    ways = zip(range(settings.samples), orders(question.options, question.id, asked.seed, check), strict=False)
    return [one for said in await together(once(number, options) for number, options in ways) for one in said]


async def _ask(
    asked: Asked,
    check: Check,
    record: str,
    image: str,
    messages: tuple[Message, ...],
    settings: CheckSettings,
    options: Sequence[str],
    n: int,
    first: int = 0,
) -> list[_Said]:
    """Ask `n` times; a letter for each, as in `options`."""
    request = Request(
        stage=f"verify {check}",
        record=record,
        messages=messages,
        sampling=Sampling.of(settings),
        seed=seed_of(asked.seed, record, f"verify {check}") + first,
        n=n,
        rank=asked.rank,
        affinity=image,
    )
    try:
        reply = await asked.model.ask(request)
    except ModelError as error:
        if error.fatal:
            raise
        return [_Said(FAILED)] * n
    return [_Said(_letter(choice, options), choice.key or None) for choice in reply.choices]


def _letter(choice: Choice, options: Sequence[str]) -> str:
    graded = grade.grade(choice.joined(), dict(zip(LETTERS, options, strict=False)))
    return graded.letter or UNREADABLE


def _judgement(
    check: Check,
    record: str,
    image: str,
    asked: Asked,
    said: Sequence[_Said],
    value: Callable[[list[str]], float],
) -> Judgement:
    letters = [one.letter for one in said]
    readable = [letter for letter in letters if letter not in (FAILED, UNREADABLE)]
    outcome: Outcome = "judged"
    if not readable or 2 * len(readable) < len(letters):
        outcome = "failed" if FAILED in letters else "unparsed"
    return Judgement.make(
        check,
        record,
        image,
        outcome=outcome,
        value=value(readable) if outcome == "judged" else None,
        said=" ".join(letters),
        model=asked.name,
        replies=tuple(one.key for one in said if one.key),
    )


def failed(check: Check, question: Question, asked: Asked) -> Judgement:
    """The judgement where a model could not even be asked: the image is gone."""
    return _judgement(check, question.id, question.image, asked, [_Said(FAILED)], lambda _: 0.0)
