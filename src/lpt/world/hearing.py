"""Prompt → what it asks. No wording is known here: only lettered options, our questions, hints of format."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

from lpt.serving.protocol import Ask
from lpt.world.kinds import Kind, Slots, recognise
from lpt.world.reading import read
from lpt.world.scene import Facts

_Told = TypeVar("_Told")
_MARK: Final = re.compile(r"(?<![\w(])(?:\(([A-J])\)|([A-J])[.):])\s+(?=\S)")
_FORMATS: Final = {
    "paren": re.compile(r"\(X\)|\(letter\)|parenthes[ei]s|in (?:round )?brackets", re.IGNORECASE),
    "dot": re.compile(r"(?<![\w(])X\.(?!\w)|followed by a (?:period|dot|full stop)"),
    "text": re.compile(
        r"\b(?:full|whole|exact|complete) (?:text|wording)|\btext of the\b|not (?:only |just )?the letter",
        re.IGNORECASE,
    ),
}


class Exam(NamedTuple):
    """A multiple-choice question as it was put."""

    options: tuple[str, ...]
    """In the order of their letters, A first."""
    kind: Kind | None
    """None: a question that the world does not know."""
    slots: Slots
    format: str
    """paren, dot or text."""
    text: str = ""
    """What stands before the options."""

    def letter(self, option: str) -> str:
        """The letter of one of the options."""
        return "ABCDEFGHIJ"[self.options.index(option)]


def exam(ask: Ask) -> Exam | None:
    """The question in a conversation: the last one with lettered options; None where there is none."""
    return _exam(tuple(turn.text for turn in ask.turns if turn.role != "assistant"))


def caption(ask: Ask) -> Facts | None:
    """The facts of the last caption in a conversation."""
    return told(ask, read)


def told(ask: Ask, read: Callable[[str], _Told | None]) -> _Told | None:
    """What is read in the last turn of a conversation, other than the assistant's, that it can be read in."""
    for turn in reversed(ask.turns):
        found = read(turn.text) if turn.role != "assistant" else None
        if found:
            return found
    return None


def picture(ask: Ask) -> bytes | None:
    """The first image of the last turn that has any."""
    return next((turn.images[0] for turn in reversed(ask.turns) if turn.images), None)


@lru_cache(maxsize=512)
def _exam(texts: tuple[str, ...]) -> Exam | None:
    for number in reversed(range(len(texts))):
        found = lettered(texts[number])
        if not found:
            continue
        options, start, end, bracketed = found
        known = recognise(texts[number][:start])
        around = "\n".join((*texts[:number], texts[number][:start], texts[number][end:], *texts[number + 1 :]))
        kind, slots = known or (None, {})
        return Exam(
            options, kind, slots, _format(around) or ("paren" if bracketed else "dot"), texts[number][:start]
        )
    return None


def lettered(text: str) -> tuple[tuple[str, ...], int, int, bool] | None:
    """The last run of lettered options: texts, where it starts and ends, whether the letters stand in brackets."""
    runs: list[list[re.Match[str]]] = []
    for mark in _MARK.finditer(text):
        letter = mark[1] or mark[2]
        if letter == "A":
            runs.append([mark])
        elif runs and letter == "ABCDEFGHIJ"[min(9, len(runs[-1]))] and bool(mark[1]) == bool(runs[-1][0][1]):
            runs[-1].append(mark)
    run = next((run for run in reversed(runs) if len(run) >= 2), None)
    if not run:
        return None
    line_end = text.find("\n", run[-1].end())
    end = len(text) if line_end < 0 else line_end
    stops = [mark.start() for mark in run[1:]] + [end]
    texts = [
        text[mark.end() : stop].split("\n", maxsplit=1)[0].strip() for mark, stop in zip(run, stops, strict=True)
    ]
    return tuple(texts), run[0].start(), end, bool(run[0][1])


def _format(text: str) -> str | None:
    """The format that is asked for last."""
    hints = [(match.start(), name) for name, pattern in _FORMATS.items() for match in pattern.finditer(text)]
    return max(hints)[1] if hints else None


def given_away(options: Sequence[str]) -> str | None:
    """The one option that stands out by its form, a full stop that the others lack; None where none does."""
    marked = [option for option in options if option.endswith(".")]
    return marked[0] if len(marked) == 1 else None


def answer_text(option: str, put: Exam, style: str) -> str:
    """An option in a format."""
    letter = put.letter(option)
    return {"paren": f"({letter})", "dot": f"{letter}.", "text": option, "both": f"{letter}. {option}"}[style]
