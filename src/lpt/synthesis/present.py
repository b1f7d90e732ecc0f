"""How a question is shown: the order of its options, the form of the answer, and the words around them.

A question is shown in one way throughout a run, so that all thoughts on it share one prompt: what is trained on,
continued and compared is then the same conversation. The way is drawn from (seed, question id).
"""

from collections.abc import Sequence

from lpt.records import ANSWER_FORMATS, LETTERS, AnswerFormat, digest, draw

_ASKS_FOR: dict[AnswerFormat, str] = {
    "(X)": "Give your answer as (X), where X is the letter of the option you choose.",
    "X.": "Give your answer as X., where X is the letter of the option you choose.",
    "text": "Give your answer as the full text of the option you choose.",
}


def some(options: Sequence[str], right: str, question: str, seed: int, fewest: int | None) -> tuple[str, ...]:
    """The options that are shown: the right one, and wrong ones so that there are `fewest` to all; None: all.

    How many they are, and which wrong ones stay, is drawn from (seed, question id) alone.
    """
    if fewest is None or fewest >= len(options):
        return tuple(options)
    number = fewest + int(draw(seed, question, "options") * (len(options) - fewest + 1))
    wrong = _shuffled([option for option in options if option != right], question, seed, "stays")
    stay = {right, *wrong[: number - 1]}
    return tuple(option for option in options if option in stay)


def order(options: Sequence[str], question: str, seed: int) -> tuple[str, ...]:
    """The options in the order in which they are shown."""
    return _shuffled(options, question, seed, "order")


def _shuffled(options: Sequence[str], question: str, seed: int, purpose: str) -> tuple[str, ...]:
    return tuple(sorted(options, key=lambda option: digest(seed, question, purpose, option)))


def answer_format(question: str, seed: int, formats: Sequence[AnswerFormat] = ANSWER_FORMATS) -> AnswerFormat:
    """The form in which the answer is asked for (paper, section 3: one of three at random)."""
    return formats[int(draw(seed, question, "format") * len(formats))]


def prompt(stem: str, options: Sequence[str], form: AnswerFormat) -> str:
    """The user's text beside the image: stem, lettered options, and the form of the answer."""
    mark = "{}. {}" if form == "X." else "({}) {}"
    lines = [mark.format(letter, option) for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([stem, *lines, _ASKS_FOR[form]])


def answer(letter: str, text: str, form: AnswerFormat) -> str:
    """An answer in the form that was asked for."""
    return {"(X)": f"({letter})", "X.": f"{letter}.", "text": text}[form]
