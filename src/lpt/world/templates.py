"""What the eye expects: how each object would look, coarsely, at each place. Built once a process, on first use."""

from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from lpt.world import layout
from lpt.world.backdrop import PAINTERS
from lpt.world.lettering import word_ink
from lpt.world.shapes import BODIES, pattern_ink
from lpt.world.words import GROUNDS, PATTERNS, PLAIN, RICH, SHAPES, SIGN_WORDS, SIZES

Floats = npt.NDArray[np.floating[Any]]

GRAIN: Final = {RICH: 4, PLAIN: 4}
"""Picture pixels to a pixel of the glance: 112 x 84 for rich scenes, 42 x 42 for plain ones."""
_REACH: Final = {RICH: (15, 13), PLAIN: (6, 6)}
"""Half a window, glance pixels of that grain: wide and high enough for the largest object and its surroundings."""
SHIFTS: Final = {RICH: (2, 1), PLAIN: (0, 0)}
"""How far from the middle of a place the eye looks for its object, in steps of that grain."""


class Window(NamedTuple):
    """The forms that may stand at the places of one row. F forms, a window of h x w glance pixels, P = h · w."""

    forms: tuple[tuple[str, str], ...]
    """(shape, size) of each form."""
    inside: Floats
    """(F, P): the share of each pixel that the form covers."""
    around: Floats
    """(F, P): a band around the form."""
    inks: Floats
    """(F, 3, P): where a striped, spotted or checkered coat would be."""
    height: int
    width: int
    drop: int
    """Rows of the window above the middle row's lower end (where the objects touch the ground)."""


@lru_cache(maxsize=12)
def window(style: str, row: int, grain: int) -> Window:
    """The forms at a row of a style, for a glance of so many picture pixels to one of its own."""
    half_w, half_h = (reach * GRAIN[style] // grain for reach in _REACH[style])
    width, height = 2 * half_w + 1, 2 * half_h + 1
    fine = 4  # samples to a glance pixel, each way
    ys, xs = np.mgrid[0 : height * fine, 0 : width * fine].astype(np.float32)
    # Picture pixels relative to the foot of the object, which lies three quarters down the window; a plain place is
    # a cell, its middle the object's.
    drop = half_h + half_h // 2 if style == RICH else half_h
    x = ((xs + np.float32(0.5)) / fine - width / 2) * grain
    y = ((ys + np.float32(0.5)) / fine - drop - 0.5) * grain
    forms, inside, around, inks = [], [], [], []
    for shape in SHAPES[style]:
        for size in SIZES if style == RICH else ("medium",):
            r = layout.radius(style, row, size)
            up = -y - np.float32(r if style == RICH else 0)
            body = BODIES[shape]((x / np.float32(r)).astype(np.float32), (up / np.float32(r)).astype(np.float32))
            cover = (body.distance < 0).astype(np.float32)
            band = ((body.distance >= np.float32(0.05)) & (body.distance < np.float32(0.42))).astype(np.float32)
            forms.append((shape, size))
            inside.append(_coarse(cover, fine))
            around.append(_coarse(band, fine))
            inks.append([_coarse(pattern_ink(p, body.across, body.along) * cover, fine) for p in PATTERNS[1:]])
    return Window(
        tuple(forms),
        np.stack(inside).reshape(len(forms), -1),
        np.stack(around).reshape(len(forms), -1),
        np.stack([np.stack(ink) for ink in inks]).reshape(len(forms), 3, -1),
        height,
        width,
        drop,
    )


@lru_cache(maxsize=1)
def grounds() -> Floats:
    """(6, 3): the mean color of the lower edge over each ground."""
    ys, xs = np.mgrid[0:336:4, 0:448:4].astype(np.float32)
    return np.stack([PAINTERS[name](xs, ys, float(layout.HORIZON), 1)[-9:].mean((0, 1)) for name in GROUNDS])


LETTERS: Final = (11, 27)
"""Height and width of a glance at a sign, pixels: a letter is three or four of them wide."""


@lru_cache(maxsize=1)
def signs() -> Floats:
    """(words, 11 · 27): each word on a board, zero mean and unit length."""
    high, wide = LETTERS
    inks = [_coarse(word_ink(word, high * 4, wide * 4), 4).ravel() for word in SIGN_WORDS]
    return np.stack([unit(ink) for ink in inks])


def unit(values: Floats) -> Floats:
    """Zero mean, unit length along the last axis."""
    centred = values - values.mean(-1, keepdims=True)
    out: Floats = (centred / (np.sqrt((centred * centred).sum(-1, keepdims=True)) + np.float32(1e-6))).astype(
        np.float32
    )
    return out


def _coarse(values: Floats, fine: int) -> Floats:
    height, width = values.shape
    out: Floats = values.reshape(height // fine, fine, width // fine, fine).mean((1, 3)).astype(np.float32)
    return out
