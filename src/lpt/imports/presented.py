"""How a published question was shown, read back from the prompt that the student was given."""

import re
from typing import Any, NamedTuple

from lpt.imports.conversations import without_images
from lpt.records import LETTERS, AnswerFormat

_TURN = re.compile(r"<\|im_start\|>(?P<role>\w+)\n(?P<text>.*?)<\|im_end\|>", re.DOTALL)
_OPTION = re.compile(r"(?:\((?P<a>[A-J])\)|(?P<b>[A-J])\.)[ \t](?P<text>.*)")
_CHOICE = re.compile(r"\((?P<letter>[A-J])\) ")
_FORMATS: tuple[tuple[str, AnswerFormat], ...] = (("as (X)", "(X)"), ("as X.", "X."), ("full text", "text"))
_KINDS = {
    "recognition": "recognition",
    "spatial": "spatial",
    "counting": "counting",
    "causal": "causal",
    "analogical": "goal",
}


class Shown(NamedTuple):
    """A question as the student saw it."""

    stem: str
    options: tuple[str, ...]
    answer: str
    answer_format: AnswerFormat
    system: str
    prompt: str


def read(prompt: object, row: dict[str, Any]) -> Shown | str:
    """Read a prompt beside the row of the question that it shows; the reason, where it cannot be used.

    The stem is taken from the row and looked for at the start, never split off: a question may repeat its own text.
    The right letter is that of the one option whose text is the recorded answer.
    """
    if str(row.get("mcq_is_valid", "True")).strip().lower() == "false":
        return "invalid"
    # Behind the last closing mark, every opening one would be followed to the text's end, in vain.
    head, closing, _ = (prompt if isinstance(prompt, str) else "").rpartition("<|im_end|>")
    turns = {turn["role"]: turn["text"] for turn in _TURN.finditer(head + closing)}
    text = without_images(turns.get("user", ""))[0].strip()
    stem = row["mcq_question"].strip()
    if not text.startswith(stem):
        return "stem-not-shown"
    options = _options(text[len(stem) :])
    if len(options) < 2:
        return "options-not-shown"
    if sorted(options) != sorted(choices(row["mcq_choices"])):
        return "options-differ"
    if len({_plain(option) for option in options}) < len(options):
        return "options-alike"
    right = [i for i, option in enumerate(options) if _plain(option) == _plain(row["mcq_answer"])]
    if len(right) != 1:
        return "answer-not-an-option"
    system = turns.get("system", "").strip()
    form = next((form for words, form in _FORMATS if words in system or words in text), None)
    if form is None:
        return "no-answer-format"
    return Shown(stem, options, LETTERS[right[0]], form, system, text)


class Asked(NamedTuple):
    """A question as its prompt alone tells it: which option is right is not in it."""

    stem: str
    options: tuple[str, ...]
    answer_format: AnswerFormat

    @property
    def letters(self) -> dict[str, str]:
        """The options by letter."""
        return dict(zip(LETTERS, self.options, strict=False))


def read_prompt(text: str, system: str = "") -> Asked | str:
    """Read a multiple-choice question back from the text that shows it; a reason, where it is none."""
    lines = text.strip().splitlines()
    # What form the answer has to have is said before the options (or in the system message), or after them.
    ends = bool(lines) and next((True for words, _ in _FORMATS if words in lines[-1]), False)
    form = next((form for words, form in _FORMATS if words in text or words in system), None)
    if ends and not _OPTION.fullmatch(lines[-1].strip()):
        lines.pop()
    first = next(
        (i for i, line in enumerate(lines) if (m := _OPTION.fullmatch(line.strip())) and (m["a"] or m["b"]) == "A"),
        None,
    )
    if not first:
        return "not-multiple-choice"
    options = _options("\n".join(lines[first:]))
    if len(options) < 2 or not all(options) or len({_plain(option) for option in options}) < len(options):
        return "not-multiple-choice"
    return Asked("\n".join(lines[:first]).strip(), options, form or "(X)")


def choices(text: str) -> list[str]:
    """The options of a row: "(A) Red (B) Blue". Labels count in their order only: "(B)" may be in a text."""
    starts: list[re.Match[str]] = []
    for found in _CHOICE.finditer(text):
        if found["letter"] == LETTERS[len(starts) : len(starts) + 1]:
            starts.append(found)
    ends = [start.start() for start in starts[1:]] + [len(text)]
    return [text[start.end() : end].strip() for start, end in zip(starts, ends, strict=False)]


def kind(recorded: str) -> str:
    """A reasoning type in our words, or as recorded."""
    words = recorded.strip().lower()
    return next((ours for theirs, ours in _KINDS.items() if words.startswith(theirs)), words)


def _options(text: str) -> tuple[str, ...]:
    """The labelled lines, in the order of their letters; a line without the next letter goes on with the last."""
    options: list[str] = []
    for line in text.strip().splitlines():
        found = _OPTION.fullmatch(line.strip())
        if found and (found["a"] or found["b"]) == LETTERS[len(options) : len(options) + 1]:
            options.append(found["text"].strip())
        elif options:
            options[-1] += f"\n{line}"
    return tuple(options)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
