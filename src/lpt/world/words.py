"""The words of the world: what things there are, what they are called, and how a choice is drawn.

One table for everybody: the renderer paints these colors, the captions and questions use these names, the eye
looks for them. All randomness of the world comes from `draw`, so nothing depends on order or process.
"""

import random
from hashlib import blake2b
from typing import Final

RICH: Final = "rich"
PLAIN: Final = "plain"
STYLES: Final = (RICH, PLAIN)

SHAPES: Final = {
    RICH: ("ball", "cube", "cylinder", "cone", "ring", "star"),
    PLAIN: ("circle", "square", "triangle", "star"),
}
ALL_SHAPES: Final = tuple(dict.fromkeys(SHAPES[RICH] + SHAPES[PLAIN]))
# sRGB, 0..255: far enough apart in daylight, close enough to be mistaken in a shadow.
COLORS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (206, 46, 48),
    "orange": (236, 124, 36),
    "yellow": (244, 203, 58),
    "green": (70, 158, 74),
    "teal": (36, 158, 158),
    "blue": (50, 98, 206),
    "purple": (128, 70, 178),
    "pink": (238, 132, 172),
    "white": (240, 238, 232),
    "gray": (122, 126, 134),
}
PLAIN_COLORS: Final = ("red", "yellow", "green", "blue", "purple", "orange")
PATTERNS: Final = ("plain", "striped", "spotted", "checkered")
SIZES: Final = ("small", "medium", "large")

COLUMNS: Final = {
    RICH: ("far left", "center-left", "center", "center-right", "far right"),
    PLAIN: ("left", "center", "right"),
}
ROWS: Final = {RICH: ("back", "middle", "front"), PLAIN: ("top", "middle", "bottom")}

GROUNDS: Final = ("wooden boards", "sand", "grass", "tiles", "snow", "carpet")
BACKDROPS: Final = {
    "wooden boards": "a plain wall",
    "sand": "the sea and an open sky",
    "grass": "rolling hills and a blue sky",
    "tiles": "a brick wall",
    "snow": "fir trees and a dusky sky",
    "carpet": "a pleated curtain",
}
LIGHTS: Final = ("left", "right", "above", "behind")
FLOCKS: Final = ("balloons", "birds", "lanterns")
INDOORS: Final = ("wooden boards", "tiles", "carpet")
SIGN_WORDS: Final = (
    "OPEN", "CAFE", "MAPS", "EXIT", "SALE", "FARM", "BAKE", "TOYS", "PARK", "FISH",
    "MILK", "SHOP", "ROAD", "TEA", "ZOO", "SPA", "ART", "BUS", "INN", "GYM",
)  # fmt: skip
SIGN_COLORS: Final = ("white", "yellow", "teal", "red", "blue")

NUMBERS: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip


def digest(*parts: object) -> int:
    """64 bits that depend on the parts alone, the same in every process."""
    hasher = blake2b(digest_size=8)
    for part in parts:
        raw = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        # A length before each part: ("ab", "c") and ("a", "bc") are different things.
        hasher.update(len(raw).to_bytes(8, "little"))
        hasher.update(raw)
    return int.from_bytes(hasher.digest(), "little")


def draw(*parts: object) -> random.Random:
    """A source of choices that is a function of the parts."""
    return random.Random(digest(*parts))


def article(phrase: str) -> str:
    """`a` or `an` in front of the phrase."""
    return f"{'an' if phrase[:1].lower() in 'aeiou' else 'a'} {phrase}"
