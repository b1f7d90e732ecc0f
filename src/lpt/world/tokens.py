"""The world's tokens: pieces of words up to eight letters, each with the space before it; marks one by one."""

import re
from typing import Final

_TOKEN: Final = re.compile(r" ?[^\W_]{1,8}| ?[^\w\s]|_|\s")


def spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each token."""
    return [match.span() for match in _TOKEN.finditer(text)]


def count(text: str) -> int:
    """How many tokens a text has."""
    return sum(1 for _ in _TOKEN.finditer(text))


def cut(text: str, most: int) -> str:
    """The first `most` tokens of a text."""
    if most <= 0:
        return ""
    for number, match in enumerate(_TOKEN.finditer(text), start=1):
        if number == most:
            return text[: match.end()]
    return text
