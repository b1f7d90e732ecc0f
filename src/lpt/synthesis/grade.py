# ruff: noqa: RUF001 - full-width tags are tags
"""A reply → letter, method → correct | wrong | unparsed.

One function grades what the student and the reasoner wrote and what a trained model answers on every benchmark. It
never guesses: a reply that does not name exactly one option is *unparsed*, which is not *wrong*. In order:

1. **The thought goes.** What is said inside `<think>…</think>` is no answer, however it sounds.
2. **The last `<answer>` decides**, alone. If it cannot be read, the reply is unparsed: an earlier answer was taken
   back by a later one, and a phrase outside is not what was asked for; to fall back on either would be a guess.
3. **Without a tag**: the whole reply is a label or an option's text (`grade_forms`); or it declares its answer in
   prose (`grade_phrases`); or the answer stands alone on its first or last line.

A thought that was never closed: there is nothing outside of it, so phrases in it do not count. But if the reply's
very end is an `<answer>`, then the model did answer and only forgot `</think>`: the letter counts, `format_ok` does
not. If more thinking follows the tag, it was part of the thought and is none.

A tag cut off at the reply's end (`</answ`, or no closing at all) is completed. Without any closing the content
itself may have been cut: `<answer>A` may have been about to become "A sunset". It counts only if nothing but the
option that was read could have been on its way.

The work is linear in the reply's length: tags are found in one pass, and everything finer looks at a bounded piece.
"""

import functools
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from lpt.synthesis.grade_forms import LONGEST, Choices, Reading, plain
from lpt.synthesis.grade_phrases import read_lines, read_prose

FORMATS = ("(X)", "X.", "text")
"""What a question may ask for: the letter in brackets, the letter with a dot, the option's full text."""

_TAG = re.compile(
    r"[<＜◁]\s{0,4}(?P<close>[/\\]?)\s{0,4}(?:(?P<think>think(?:ing)?|thought)|(?P<answer>answer))\s{0,4}[>＞▷]",
    re.IGNORECASE,
)
_CUT_CLOSING = re.compile(r"<(?:\s?[/\\]\s?(?:a(?:n(?:s(?:w(?:er?)?)?)?)?)?\s?)?$", re.IGNORECASE)


class Grade(msgspec.Struct, frozen=True):
    """What became of one reply.

    Attributes:
        letter: the option that the reply names, as the options spell it; None if it names none, or no single one.
        method: how it was found, a short stable word ("tag-letter", "tag-text", "tag-letter-text", "tag-boxed",
            "tag-phrase", and without a tag "letter", "text", "letter-text", "boxed", "phrase", "first-line",
            "last-line"); None if unparsed.
        format_ok: whether the reply keeps to the form that it was asked for; see `grade`.
        correct: whether the letter is the right one; None if that is not known: no right answer was given, or the
            reply is unparsed (a failed parse is never a wrong answer).
    """

    letter: str | None
    method: str | None
    format_ok: bool
    correct: bool | None

    @property
    def verdict(self) -> Literal["correct", "wrong", "unparsed"]:
        """The outcome by its name.

        Raises:
            ValueError: the reply has an answer, but `grade` was not told the right one.
        """
        if self.letter is None:
            return "unparsed"
        if self.correct is None:
            raise ValueError("this reply was graded without the right answer: there is no verdict on it")
        return "correct" if self.correct else "wrong"


class _Answer(NamedTuple):
    text: str
    complete: bool  # closed, or cut within its closing tag: the content is whole
    whole: bool  # exactly one `<answer>…</answer>` in the reply, spelled so, after its thought


def grade(
    output: str,
    options: Mapping[str, str],
    *,
    answer: str | None = None,
    format: str | None = None,  # noqa: A002 (the name that the recipe and the command line use)
    in_thought: bool = False,
) -> Grade:
    """Grade one reply to a multiple-choice question. Never raises on a reply, whatever it holds.

    Args:
        output: the reply as the model wrote it.
        options: letter → text, as they were presented.
        answer: the right letter, if it is known.
        format: what the question asked for, one of `FORMATS`.
        in_thought: the reply continues a `<think>` that the prompt opened. A reply without any think tag is
            otherwise taken for an answer in full, here for a thought that was cut off.

    Returns:
        The grade. `format_ok` asks for exactly one whole `<answer>…</answer>` in the reply, after its thought (if
        there is one, it is closed), whose content is, but for white space around it, exactly "(B)", "B." or an
        option's text as asked for; where no format was asked for, its content must be readable.

    Raises:
        ValueError: `answer` is not one of the options' letters, or `format` not one of `FORMATS`.
    """
    if format is not None and format not in FORMATS:
        raise ValueError(f"format is {format!r}; it can be {', '.join(FORMATS)}")
    if answer is not None and answer not in options:
        raise ValueError(f"the right answer is {answer!r}, which is not among the options {', '.join(options)}")
    choices = _choices(tuple(options.items()))
    thought = _divide(output, in_thought=in_thought)
    tagged = _last_answer(output, thought)
    reading = _read_tag(tagged, choices) if tagged else _read_untagged(thought.rest, choices)
    letter = reading.letter if reading else None
    return Grade(
        letter=letter,
        method=reading.kind if reading else None,
        format_ok=_in_format(tagged, options, format, parsed=letter is not None),
        correct=None if answer is None or letter is None else letter == answer,
    )


def answer_text(output: str, *, in_thought: bool = False) -> str | None:
    """The raw content of the last `<answer>` that counts (see the module's text), or None if there is none."""
    tagged = _last_answer(output, _divide(output, in_thought=in_thought))
    return tagged.text if tagged else None


def split_thought(output: str, *, in_thought: bool = False) -> tuple[str, str]:
    """A reply's thought and what it says outside of it, both as written, white space included.

    A reply whose first think tag is a closing one continues a thought that the prompt opened. A thought that is
    never closed has nothing after it. Several thoughts are joined by a line break. Without any think tag there is
    no thought, unless `in_thought` says that the prompt had opened one.
    """
    divided = _divide(output, in_thought=in_thought)
    return divided.thought, divided.rest


@functools.lru_cache(maxsize=256)
def _choices(options: tuple[tuple[str, str], ...]) -> Choices:
    """A question is asked many times over: its options are prepared once."""
    return Choices(dict(options))


class _Divided(NamedTuple):
    thought: str
    rest: str
    tags: list[re.Match[str]]  # answer tags outside of the thought, in order
    open_tags: list[re.Match[str]]  # answer tags in a thought that was never closed
    others: int  # answer tags in closed thoughts


def _divide(output: str, *, in_thought: bool) -> _Divided:
    """Part thought and answer in one pass over the tags.

    Thoughts do not nest: a second opening (some models repeat the one in their prompt), or a closing of what was
    closed already, is dropped.
    """
    every = list(_TAG.finditer(output))
    first = next((tag for tag in every if tag["think"]), None)
    inside = in_thought or (first is not None and bool(first["close"]))
    thoughts: list[str] = []
    rest: list[str] = []
    tags: list[re.Match[str]] = []
    pending: list[re.Match[str]] = []
    others = 0
    position = 0
    thought: list[str] = []
    for tag in every:
        if tag["answer"]:
            (pending if inside else tags).append(tag)
            continue
        (thought if inside else rest).append(output[position : tag.start()])
        position = tag.end()
        if inside and tag["close"]:
            thoughts.append("".join(thought))
            thought = []
            others += len(pending)
            pending = []
        inside = not tag["close"]
    (thought if inside else rest).append(output[position:])
    if inside:
        thoughts.append("".join(thought))
    return _Divided("\n".join(thoughts), "".join(rest), tags, pending, others)


def _last_answer(output: str, divided: _Divided) -> _Answer | None:
    if found := _last_of(output, divided.open_tags):
        closing = divided.open_tags[-1]
        if not closing["close"] or not plain(output[closing.end() :][-LONGEST:]).strip():
            return found._replace(whole=False)
    found = _last_of(output, divided.tags)
    alone = len(divided.tags) == 2 and not divided.others and not divided.open_tags
    return found and found._replace(whole=found.whole and alone)


def _last_of(output: str, tags: list[re.Match[str]]) -> _Answer | None:
    last = max((i for i, tag in enumerate(tags) if not tag["close"]), default=None)
    if last is None:
        return None
    if (
        last == len(tags) - 1
        and last > 0
        and not tags[last - 1]["close"]
        and not output[tags[last].end() :].strip()
    ):
        last -= 1  # "<answer>B<answer>": an opening tag in the place of the closing one
    start = tags[last].end()
    if last + 1 < len(tags):
        closing = tags[last + 1]
        spelled = (tags[last][0], closing[0]) == ("<answer>", "</answer>")
        return _Answer(output[start : closing.start()], complete=True, whole=spelled)
    text = output[start:].rstrip()
    cut = _CUT_CLOSING.search(text, max(0, len(text) - 20))
    return _Answer(text[: cut.start()] if cut else text, complete=cut is not None, whole=False)


def _read_tag(tagged: _Answer, choices: Choices) -> Reading | None:
    text = tagged.text.strip()
    if len(text) > LONGEST:
        return None
    reading = choices.read(text)
    if tagged.complete:
        reading = reading or read_prose(text, choices)
    elif reading is not None and choices.may_become(text) - {reading.letter}:
        return None
    return reading and Reading(reading.letter, f"tag-{reading.kind}")


def _read_untagged(rest: str, choices: Choices) -> Reading | None:
    rest = _TAG.sub(" ", rest).strip()
    return choices.read(rest) or read_prose(rest, choices) or read_lines(rest, choices)


def _in_format(tagged: _Answer | None, options: Mapping[str, str], asked: str | None, *, parsed: bool) -> bool:
    if tagged is None or not tagged.whole:
        return False
    if asked is None:
        return parsed
    exact = {"(X)": [f"({key})" for key in options], "X.": [f"{key}." for key in options]}
    return tagged.text.strip() in exact.get(asked, [text.strip() for text in options.values()])
