"""Capital letters made of strokes: nothing depends on a font file or on how a font library hints it."""

from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

# Each letter: strokes of points on a grid 4 wide (0..4) and 6 high (0 top .. 6 bottom).
_STROKES: Final[dict[str, tuple[tuple[tuple[float, float], ...], ...]]] = {
    "A": (((0, 6), (2, 0), (4, 6)), ((0.8, 4), (3.2, 4))),
    "B": (((0, 0), (0, 6), (2.8, 6), (4, 5.2), (4, 3.8), (2.8, 3), (0, 3)),
        ((0, 0), (2.6, 0), (3.6, 0.8), (3.6, 2.2), (2.8, 3))),
    "C": (((4, 1), (3, 0), (1, 0), (0, 1), (0, 5), (1, 6), (3, 6), (4, 5)),),
    "D": (((0, 0), (0, 6), (2.4, 6), (4, 4.4), (4, 1.6), (2.4, 0), (0, 0)),),
    "E": (((4, 0), (0, 0), (0, 6), (4, 6)), ((0, 3), (3, 3))),
    "F": (((4, 0), (0, 0), (0, 6)), ((0, 3), (3, 3))),
    "G": (((4, 1), (3, 0), (1, 0), (0, 1), (0, 5), (1, 6), (3, 6), (4, 5), (4, 3.2), (2.4, 3.2)),),
    "H": (((0, 0), (0, 6)), ((4, 0), (4, 6)), ((0, 3), (4, 3))),
    "I": (((2, 0), (2, 6)), ((0.8, 0), (3.2, 0)), ((0.8, 6), (3.2, 6))),
    "K": (((0, 0), (0, 6)), ((4, 0), (0, 3.6)), ((1.4, 2.6), (4, 6))),
    "L": (((0, 0), (0, 6), (4, 6)),),
    "M": (((0, 6), (0, 0), (2, 3.4), (4, 0), (4, 6)),),
    "N": (((0, 6), (0, 0), (4, 6), (4, 0)),),
    "O": (((1, 0), (3, 0), (4, 1), (4, 5), (3, 6), (1, 6), (0, 5), (0, 1), (1, 0)),),
    "P": (((0, 6), (0, 0), (3, 0), (4, 1), (4, 2.4), (3, 3.4), (0, 3.4)),),
    "R": (((0, 6), (0, 0), (3, 0), (4, 1), (4, 2.4), (3, 3.4), (0, 3.4)), ((1.8, 3.4), (4, 6))),
    "S": (((4, 0.8), (3, 0), (1, 0), (0, 1), (0, 2.2), (1, 3), (3, 3),
        (4, 3.8), (4, 5), (3, 6), (1, 6), (0, 5.2)),),
    "T": (((0, 0), (4, 0)), ((2, 0), (2, 6))),
    "U": (((0, 0), (0, 5), (1, 6), (3, 6), (4, 5), (4, 0)),),
    "X": (((0, 0), (4, 6)), ((4, 0), (0, 6))),
    "Y": (((0, 0), (2, 3), (4, 0)), ((2, 3), (2, 6))),
    "Z": (((0, 0), (4, 0), (0, 6), (4, 6)),),
}  # fmt: skip
_ADVANCE: Final = 6.0


def word_ink(word: str, height: int, width: int) -> Floats:
    """The word, centred in a box.

    Args:
        word: Capital letters that some sign shows.
        height: Height of the box, pixels.
        width: Width of the box, pixels.

    Returns:
        Ink of shape (height, width), 0 to 1, anti-aliased.
    """
    # The letters take 62 % of the box's height, or less where the word would not fit across.
    unit = min(height * 0.62 / 6.0, width * 0.80 / (_ADVANCE * len(word) - 2.0))
    left = (width - unit * (_ADVANCE * len(word) - 2.0)) / 2
    top = (height - unit * 6.0) / 2
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32) + np.float32(0.5)
    nearest = np.full((height, width), 1e6, np.float32)
    for place, letter in enumerate(word):
        for stroke in _STROKES[letter]:
            points = [(left + (x + place * _ADVANCE) * unit, top + y * unit) for x, y in stroke]
            for start, end in pairwise(points):
                nearest = np.minimum(nearest, _to_segment(xs, ys, start, end))
    ink: Floats = np.clip(np.float32(0.5) + np.float32(unit * 0.55) - nearest, 0, 1)
    return ink


def _to_segment(xs: Floats, ys: Floats, start: tuple[float, float], end: tuple[float, float]) -> Floats:
    """Distance of each pixel to the segment, pixels."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = np.clip(((xs - start[0]) * dx + (ys - start[1]) * dy) / (dx * dx + dy * dy), 0, 1)
    px, py = xs - start[0] - along * dx, ys - start[1] - along * dy
    out: Floats = np.sqrt(px * px + py * py).astype(np.float32)
    return out
