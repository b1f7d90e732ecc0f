"""In the place of stage 1: visual questions that somebody brings along, and options for those that have none.

A row of a question set is read into a `Brought`; from there it goes the way of the asker's own questions, through
`ask.check`, so that it is shown, answered and graded like any other. An open question is given three wrong options
by a model first.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from lpt.models.base import Choice, Message, Model, Request, Sampling, seed_of
from lpt.records import LETTERS, Caption, Drop, Question, digest
from lpt.settings import QuestionColumns, QuestionSettings, ThinkSettings
from lpt.synthesis import ask, grade, prompts
from lpt.synthesis.ask import Asked
from lpt.synthesis.grade_forms import normalise

SIZES = range(2, len(LETTERS) + 1)
"""How many options a question may bring along."""
WRONG = 3
"""How many a model adds to the right one."""

_LONGEST = 20_000  # characters of a cell; more is no question and no list of options
_LETTER = re.compile(r"[(\[]?\s*([A-Ja-j])\s*[)\].:]?")
_JSON_FORM = 'Answer with one JSON object: {"options": [three strings]}.'
_LINES_FORM = "Answer with three lines, one option on each, and nothing else."
_SCHEMA = {
    "type": "object",
    "properties": {"options": {"type": "array", "items": {"type": "string"}, "minItems": WRONG, "maxItems": WRONG}},
    "required": ["options"],
    "additionalProperties": False,
}
_BULLET = re.compile(r"(?:[-*\u2022]|\(?[A-Ja-j1-9][).:])\s+")


class Brought(msgspec.Struct, frozen=True, kw_only=True):
    """A question as its source has it, beside the caption that it is about. Without options it is an open one."""

    caption: str
    image: str
    index: int
    """Its place among the rows of its caption."""
    stem: str
    options: tuple[str, ...]
    answer: str
    kind: str


class Own(NamedTuple):
    """Where a journey finds the questions that were brought along."""

    settings: QuestionSettings
    of: Callable[[Caption], list[Brought]]
    """The questions on a caption. Asked once for each."""


class Unread(NamedTuple):
    """Why a row is no question."""

    reason: str
    detail: str = ""


class Cells(NamedTuple):
    """What a row says of its question."""

    stem: str
    options: tuple[str, ...]
    answer: str
    kind: str


# --- a row → a question ------------------------------------------------------------------------------------------


def read(row: Mapping[str, Any], columns: QuestionColumns, answer_as: str) -> Cells | Unread:
    """Read a row's question. What it says is checked later; here it must be possible to say what it is."""
    stem = ask.text_of(row.get(columns.question)).replace("<image>", "").strip()
    if not stem:
        return Unread("no-stem", f"`{columns.question}` is empty, or no text")
    options = _options(row, columns.options)
    if isinstance(options, Unread):
        return options
    if len(options) > len(LETTERS):
        return Unread("number-of-options", f"it has {len(options):,} options: more than {len(LETTERS)}")
    if max(map(len, (stem, ask.text_of(row.get(columns.answer)), *options))) > _LONGEST:
        return Unread("too-long", f"a text in it has more than {_LONGEST:,} characters")
    answer = _answer(row.get(columns.answer), options, answer_as)
    if isinstance(answer, Unread):
        return answer
    return Cells(stem, options, answer, ask.text_of(row.get(columns.kind)))


def _options(row: Mapping[str, Any], columns: str | tuple[str, ...]) -> tuple[str, ...] | Unread:
    if isinstance(columns, str):
        return _listed(row.get(columns))
    texts = [ask.text_of(row.get(column)) for column in columns]
    while texts and not texts[-1]:
        texts.pop()  # a question with fewer options leaves the last columns empty
    return tuple(texts)


def _listed(value: object) -> tuple[str, ...] | Unread:
    """All options out of one cell: a list, letters with texts, or a text that holds either."""
    if isinstance(value, str):
        value = value.strip()[: _LONGEST + 1]
        if value[:1] in ("[", "{"):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                return Unread("options-unreadable", "the options are no list, and no JSON either")
        else:
            lines = [line.strip() for line in value.splitlines() if line.strip()]
            options = ask.lettered(value) or lines
            return tuple(options) if len(options) != 1 else Unread("options-unreadable", "they are not told apart")
    if value is None:
        return ()
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        value = value["text"]  # as in ARC: {"text": [...], "label": ["A", "B", ...]}
    if isinstance(value, dict):
        value = [text for _, text in sorted(value.items(), key=lambda pair: str(pair[0]))]
    if not isinstance(value, (list, tuple)):
        return Unread("options-unreadable", "the options are neither a list nor a text")
    return ask.bare(tuple(ask.text_of(option) for option in value))


def _answer(value: object, options: tuple[str, ...], told_as: str) -> str | Unread:
    """The answer in words, or as the letter "(B)" of the option that it stands for."""
    text = ask.text_of(value) if not isinstance(value, bool) else ""
    if not text:
        return Unread("no-answer", "it has no answer, or one that is no text")
    if told_as in ("auto", "text") and not options:
        return text
    if not options:
        return Unread("no-options", f"its answer is told as {told_as}, and it has no options")
    normal = normalise(text)
    same = [i for i, option in enumerate(options) if normalise(option) == normal]
    if told_as == "auto":
        # A number may count from 0 or from 1, and a data set that is read one off is wrong throughout.
        number = isinstance(value, (int, float)) or (text.isdecimal() and not same)
        hint = f'the answer is the number {text}: set questions.answer_as to "index" (from 0) or "number" (from 1)'
        return Unread("answer-is-a-number", hint) if number else text
    place = -1
    if told_as == "text":
        place = same[0] if len(same) == 1 else -1
    elif told_as == "letter":
        found = _LETTER.fullmatch(text)
        place = LETTERS.index(found[1].upper()) if found else -1
    elif re.fullmatch(r"\d{1,4}(\.0)?", text):
        place = int(float(text)) - (told_as == "number")
    if not 0 <= place < len(options):
        return Unread(
            "answer-not-an-option", f"its answer, told as {told_as}, is none of its {len(options)} options"
        )
    return f"({LETTERS[place]})"


# --- a question → a question as it is shown ----------------------------------------------------------------------


def check(
    brought: list[Brought],
    options: Mapping[int, Asked],
    caption: Caption,
    shown: ThinkSettings,
    system: str,
    seed: int,
) -> tuple[list[Question], list[Drop]]:
    """Sort the questions on one caption into sound ones, as they will be shown, and drops with the reason.

    `options` holds, by index, the open ones that were given options; open ones that are not in it are left out.
    """
    asked = {
        item.index: Asked(item.stem, item.options, item.answer, item.kind) if item.options else options[item.index]
        for item in brought
        if item.options or item.index in options
    }
    return ask.check(
        list(asked.values()), caption, shown, system, seed=seed, reply=None, places=list(asked), sizes=SIZES
    )


def template(settings: QuestionSettings) -> str:
    """The prompt for wrong options, to be filled.

    Raises:
        RecipeError: the user's file cannot be used.
    """
    return prompts.load("options", settings.prompt, ("question", "answer"))


async def complete(
    model: Model, item: Brought, caption: Caption, settings: QuestionSettings, *, seed: int, rank: int = 0
) -> Asked | Drop:
    """Give an open question three wrong options; a drop where the reply does not hold exactly three.

    Raises:
        ModelError: no reply came.
    """
    words = prompts.fill(
        template(settings),
        question=item.stem,
        answer=item.answer,
        caption=caption.text or "Nothing but what the question and its answer say.",
        form=_JSON_FORM if settings.structured else _LINES_FORM,
    )
    record = digest("open question", caption.id, item.index, item.stem, item.answer)
    reply = await model.ask(
        Request(
            stage="ask",
            record=caption.id,
            messages=(Message("user", words),),
            sampling=Sampling.of(settings),
            schema=_SCHEMA if settings.structured else None,
            seed=seed_of(seed, record, "options"),
            rank=rank,
            affinity=caption.image,
        )
    )
    wrong = wrong_options(reply.choices[0])
    if isinstance(wrong, str):
        return drop(item, wrong)
    return Asked(item.stem, (item.answer, *wrong), "(A)", item.kind)


def drop(item: Brought, reason: str, detail: str = "") -> Drop:
    """A question that left the way before it could be shown."""
    about = f"question {item.index + 1}: {item.stem}"
    return Drop.make("ask", item.caption, item.image, reason, f"{detail} {about}".strip(), index=item.index)


def wrong_options(choice: Choice) -> tuple[str, ...] | str:
    """Exactly three options out of a reply, as JSON or a line each; a reason otherwise."""
    _, text = grade.split_thought(choice.joined())
    if choice.finish_reason == "length":
        return "unfinished"
    start, end = text.find("{"), text.rfind("}")
    if 0 <= start < end <= start + _LONGEST:
        try:
            found = json.loads(text[start : end + 1], strict=False)
        except (ValueError, RecursionError):
            return "options-unreadable"
        listed = found.get("options") if isinstance(found, dict) else None
        options = [ask.text_of(option) for option in listed] if isinstance(listed, list) else []
    else:
        lines = [line.strip() for line in text[:_LONGEST].splitlines() if line.strip()]
        options = [_BULLET.sub("", line, count=1) if _BULLET.match(line) else line for line in lines]
    options = [" ".join(option.split()) for option in options]
    return tuple(options) if len(options) == WRONG and all(options) else "options-unreadable"
