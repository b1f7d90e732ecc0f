"""The language of the world, written once and read in both directions.

A `Sentence` is a template with slots. Filled in, it is a sentence of a caption or a question; turned into a
pattern, it finds that sentence in a text that somebody else wrote around it.
"""

import re
from functools import cached_property
from typing import Final

from lpt.world.scene import Facts, Thing
from lpt.world.words import (
    ALL_SHAPES,
    COLORS,
    COLUMNS,
    FLOCKS,
    GROUNDS,
    NUMBERS,
    PATTERNS,
    RICH,
    ROWS,
    SIGN_COLORS,
    SIZES,
    STYLES,
)


def _any(words: object) -> str:
    """Alternatives, the longest first: `center-left` before `center`."""
    assert isinstance(words, (tuple, list, dict))
    return "|".join(re.escape(word) for word in sorted(dict.fromkeys(words), key=len, reverse=True))


_COLUMN_WORDS: Final = _any([word for style in STYLES for word in COLUMNS[style]])
_ROW_WORDS: Final = _any([word for style in STYLES for word in ROWS[style]])
_SHAPE: Final = rf"(?:{_any(ALL_SHAPES)})"
_THING: Final = (
    rf"(?:(?:{_any(SIZES)}) )?(?:(?:{_any(PATTERNS)}) )?(?:{_any(COLORS)}) {_SHAPE}"
    r"(?: with (?:stripes|spots|a checkered pattern|no pattern))?"
)
_PLACE: Final = (
    rf"(?:at the (?:{_COLUMN_WORDS}) of the (?:{_ROW_WORDS}) row"
    rf"|in the (?:{_ROW_WORDS}) row, at the (?:{_COLUMN_WORDS}))"
)
THAN: Final[dict[str, tuple[str, int]]] = {
    "farther to the left": ("column", -1),
    "farther to the right": ("column", 1),
    "closer to the viewer": ("row", 1),
    "farther from the viewer": ("row", -1),
    "higher on the page": ("row", -1),
    "lower on the page": ("row", 1),
}
"""Comparisons: the coordinate of a thing that they are about, and its direction."""
_SLOTS: Final[dict[str, str]] = {
    "thing": rf"an? {_THING}",
    # How a question refers to a thing: by its looks or by its place.
    "ref": rf"the (?:(?:{_any(SIZES)}) )?(?:(?:{_any(PATTERNS)}) )?(?:(?:{_any(COLORS)}) )?"
    rf"(?:{_SHAPE}|object)(?: {_PLACE})?",
    "place": _PLACE,
    "count": _any(NUMBERS),
    "ground": _any(GROUNDS),
    "shape": _SHAPE,
    "color": _any(COLORS),
    "pattern": _any(PATTERNS),
    "row": _ROW_WORDS,
    "light": "left|right|above|behind",
    "side": "left|right",
    "than": _any(THAN),
    "flock": _any(FLOCKS),
    "signcolor": _any(SIGN_COLORS),
    "column": _COLUMN_WORDS,
    "word": "[A-Z]{3,4}",
}


class Sentence:
    """A template, such as `there is {thing} {place}`, with its final stop.

    Args:
        template: Text with slots in braces; a slot's kind is its name.
    """

    def __init__(self, template: str) -> None:
        self.template = template

    def say(self, **slots: str) -> str:
        """The sentence, its first letter a capital."""
        text = self.template.format(**slots)
        return text[:1].upper() + text[1:]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds the sentence anywhere; a line break may stand where a space does; a slot is a group of its name."""
        parts = re.split(r"\{(\w+)\}", self.template)
        whole = "".join(f"(?P<{part}>{_SLOTS[part]})" if i % 2 else re.escape(part) for i, part in enumerate(parts))
        first = whole[0]
        if first.isalpha():
            whole = f"[{first.upper()}{first.lower()}]{whole[1:]}"
        elif parts[0] == "":
            # A slot may open the sentence: then its first word has the capital.
            whole = f"(?i:{whole})"
        return re.compile(r"(?<!\w)" + whole.replace(r"\ ", r"\s+").replace(" ", r"\s+"))


_ROW: Final = re.compile(rf"({_ROW_WORDS}) row")
_COLUMN: Final = re.compile(rf"at the ({_COLUMN_WORDS})")


def place_of(style: str, row: int, column: int) -> str:
    """`at the far left of the back row`."""
    return f"at the {COLUMNS[style][column]} of the {ROWS[style][row]} row"


def read_place(text: str, style: str) -> tuple[int, int] | None:
    """(row, column) of a place in words, None where the style has no such place."""
    text = " ".join(text.lower().split())
    row, column = _ROW.search(text), _COLUMN.search(text)
    if not row or not column:
        return None
    row_word, column_word = row[1], column[1]
    if row_word not in ROWS[style] or column_word not in COLUMNS[style]:
        return None
    return ROWS[style].index(row_word), COLUMNS[style].index(column_word)


_LOOKS: Final = (("size", SIZES), ("pattern", PATTERNS), ("color", tuple(COLORS)), ("shape", ALL_SHAPES))
_WITH: Final = {"stripes": "striped", "spots": "spotted", "a checkered pattern": "checkered", "no pattern": "plain"}


def read_looks(text: str) -> dict[str, str]:
    """What a noun phrase says of a thing: any of size, pattern, color, shape."""
    head, _, tail = " ".join(text.lower().split()).partition(" with ")
    words = re.findall(r"\w+", re.sub(r" (?:at|in) the .*", "", head))
    looks = {name: word for name, known in _LOOKS for word in words if word in known}
    if tail in _WITH:
        looks["pattern"] = _WITH[tail]
    return looks


def find(facts: Facts, phrase: str) -> list[Thing]:
    """The things that a phrase fits, by looks and by place."""
    looks = read_looks(phrase)
    place = read_place(phrase, facts.style)
    return [
        thing
        for thing in facts.things
        if (place is None or (thing.row, thing.column) == place)
        and all(getattr(thing, name) == word for name, word in looks.items())
    ]


def likeliest(facts: Facts, phrase: str) -> Thing | None:
    """The thing that a phrase fits best, for an eye that may be mistaken; None if none nearly fits."""
    looks = read_looks(phrase)
    place = read_place(phrase, facts.style)
    worth = {"color": 1.0, "shape": 1.0, "pattern": 0.6, "size": 0.3}
    asked = sum(worth[name] for name in looks) + (2.0 if place else 0.0)
    best: tuple[float, Thing] | None = None
    for thing in facts.things:
        score = sum(worth[name] for name, word in looks.items() if getattr(thing, name) == word)
        if place:
            score += max(0.0, 2.0 - abs(thing.row - place[0]) - abs(thing.column - place[1]))
        if best is None or score > best[0]:
            best = (score, thing)
    return best[1] if best and best[0] >= 0.5 * asked else None


def look_of(thing: Thing) -> str:
    """`red ball`: unique in a scene."""
    return f"{thing.color} {thing.shape}"


def full_look(thing: Thing, style: str, with_tail: bool = False) -> str:
    """All that is to be seen of a thing: `large striped red ball`, or `large red ball with stripes`."""
    if style != RICH:
        return look_of(thing)
    if with_tail:
        tail = next(words for words, pattern in _WITH.items() if pattern == thing.pattern)
        return f"{thing.size} {thing.color} {thing.shape} with {tail}"
    return f"{thing.size} {thing.pattern} {thing.color} {thing.shape}"
