"""The student's eye: encoded picture → what a low-resolution glance makes of it, from pixels alone.

`look` reduces a picture to evidence: for each place how well each form fits, which colors are there, how a coat of
stripes would explain them; for the sky how many blobs; for a sign how well each word fits. `believe` turns evidence
into facts for one fixation: sharp near it, blurred away from it, and drawn at random where the evidence is even. So
small, hidden, distant and look-alike things are mistaken more often, and another look may see them right.
"""

import io
import random
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from lpt.world import layout
from lpt.world.scene import Facts, Flock, Sign, Thing
from lpt.world.templates import GRAIN, LETTERS, SHIFTS, Window, grounds, signs, unit, window
from lpt.world.words import COLORS, COLUMNS, GROUNDS, LIGHTS, PATTERNS, PLAIN, RICH, ROWS, SIGN_WORDS

Floats = npt.NDArray[np.floating[Any]]

_PALETTE: Final = np.asarray([*COLORS.values(), (51, 56, 71)], np.float32) / np.float32(
    255
)  # the last is pattern ink
_COLOR_NAMES: Final = tuple(COLORS)


THERE: Final = 0.4
"""How well a form must fit for something to be there."""


class Spot(NamedTuple):
    """What speaks for an object at one place."""

    form: Floats
    """(F,): how much better each form fits than empty ground; the best above ~0.3 means that something is there."""
    color: Floats
    """(10,): the share of the object's visible pixels nearest to each color."""
    pattern: Floats
    """(4,): how well each pattern explains the pixels."""
    seen: float
    """The share of the best form that nothing in front covers."""


class Glance(NamedTuple):
    """The evidence at two sharpnesses."""

    style: str
    sharp: dict[tuple[int, int], Spot]
    blurred: dict[tuple[int, int], Spot]
    ground: Floats
    light: Floats
    words: Floats
    """(5, words): fit of each word at each column's sign."""
    blobs: tuple[int, int]
    """What was counted in the sky, sharp and blurred."""
    colored: bool
    """Whether the blobs in the sky have colors."""


@lru_cache(maxsize=64)
def look(picture: bytes) -> Glance | None:
    """A glance at an encoded picture (PNG, JPEG, …) of any size; None if it cannot be decoded."""
    opened = _opened(picture)
    if opened is None:
        return None
    pixels, style = opened
    sharp = _reduced(pixels, GRAIN[style])
    if style == PLAIN:
        spots = _spots(sharp, style, GRAIN[style])
        none = np.zeros(0, np.float32)
        return Glance(style, spots, spots, none, none, none, (0, 0), False)
    low = _reduced(pixels, 8).repeat(2, axis=0).repeat(2, axis=1)
    low = (low + np.roll(low, 1, 0) + np.roll(low, 1, 1) + np.roll(np.roll(low, 1, 0), 1, 1)) / 4
    spots = _spots(sharp, style, GRAIN[style])
    blobs, colored = _blobs(sharp)
    return Glance(
        style=style,
        sharp=spots,
        blurred=_spots(low, style, GRAIN[style]),
        ground=-np.abs(grounds() - sharp[-9:].mean((0, 1))).sum(-1) * 6,
        light=_light(sharp, spots),
        words=_words(pixels),
        blobs=(blobs, _blobs(low)[0]),
        colored=colored,
    )


@lru_cache(maxsize=64)
def look_hard(picture: bytes) -> Glance | None:
    """A look at twice the resolution, as sharp at the edges as in the middle: what a better eye has to go by."""
    opened, glance = _opened(picture), look(picture)
    if opened is None or glance is None:
        return None
    pixels, style = opened
    spots = _spots(_reduced(pixels, GRAIN[style] // 2), style, GRAIN[style] // 2)
    return glance._replace(sharp=spots, blurred=spots, blobs=(glance.blobs[0],) * 2)


def _opened(picture: bytes) -> tuple[Floats, str] | None:
    """The pixels at the size that its style is painted in, and the style."""
    try:
        with Image.open(io.BytesIO(picture)) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    # Rich scenes are wide, plain ones square: the one thing that survives every resizing.
    style = RICH if image.width > 1.15 * image.height else PLAIN
    width, height = layout.SIZE[style]
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32) / np.float32(255), style


def _reduced(pixels: Floats, grain: int) -> Floats:
    height, width, _ = pixels.shape
    out: Floats = pixels.reshape(height // grain, grain, width // grain, grain, 3).mean((1, 3))
    return out


def _figure(pixels: Floats) -> Floats:
    """(h, w), 0 to 1: how unlike its row's usual color a pixel is; hue counts more than brightness."""
    usual = np.median(pixels, axis=1, keepdims=True)
    apart = pixels - usual
    bright = apart.mean(-1, keepdims=True)
    distance = np.abs(apart - bright).sum(-1) * np.float32(1.3) + np.maximum(
        bright[..., 0] * np.float32(0.8), bright[..., 0] * np.float32(-0.5)
    )
    out: Floats = np.clip((distance - np.float32(0.10)) / np.float32(0.20), 0, 1)
    return out


class _Fit(NamedTuple):
    """How the forms fit at one place, given what other objects already cover."""

    form: Floats
    box: tuple[int, int, int, int]
    shown: Floats
    seen: float

    @property
    def best(self) -> int:
        return int(self.form.argmax())


def _spots(pixels: Floats, style: str, grain: int) -> dict[tuple[int, int], Spot]:
    """Every place of the lattice. What fits best is believed first, and what it covers speaks for nothing else."""
    figure = _figure(pixels)
    visible = np.ones_like(figure)
    rows, columns = range(len(ROWS[style])), range(len(COLUMNS[style]))
    open_: dict[tuple[int, int], _Fit] = {
        (r, c): _fit(figure, visible, style, r, c, grain) for r in rows for c in columns
    }
    fits: dict[tuple[int, int], _Fit] = {}
    while open_:
        place = max(open_, key=lambda cell: (open_[cell].form.max(), cell))
        row, column = place
        before = float(open_[place].form.max())
        # What was believed since may have taken its ground away: then it queues again with what is left.
        open_[place] = now = _fit(figure, visible, style, row, column, grain)
        if before - float(now.form.max()) > 0.02:
            continue
        fits[place] = open_.pop(place)
        if now.form.max() > THERE:
            _cover(visible, now.box, window(style, row, grain).inside[now.best])
    return {place: _spot(pixels, fit, window(style, place[0], grain)) for place, fit in fits.items()}


def _fit(figure: Floats, visible: Floats, style: str, row: int, column: int, grain: int) -> _Fit:
    expected = window(style, row, grain)
    step, (shift_x, shift_y) = GRAIN[style] // grain, SHIFTS[style]
    foot = layout.base_y(style, row) - (layout.radius(style, row, "medium") if style == PLAIN else 0)
    left = int(layout.column_x(style, column) / grain - expected.width / 2 + 0.5)
    top = int(foot / grain) - expected.drop
    reach = ((dy, dx) for dy in range(-shift_y, shift_y + 1) for dx in range(-shift_x, shift_x + 1))
    moves = [(dy * step, dx * step) for dy, dx in reach]
    boxes = [(top + dy, top + dy + expected.height, left + dx, left + dx + expected.width) for dy, dx in moves]
    shown = np.stack([_cut(visible, box).ravel() for box in boxes])
    figures = np.stack([_cut(figure, box).ravel() for box in boxes]) * shown
    size = expected.inside.sum(1)
    inside, around = shown @ expected.inside.T, shown @ expected.around.T
    filled = (figures @ expected.inside.T) / np.maximum(inside, 1)
    spilled = (figures @ expected.around.T) / np.maximum(around, 1)
    # What is mostly covered has little to say for itself.
    score = (filled - spilled * np.float32(0.8)) * np.clip(inside / size * 2.2, 0, 1)
    move = int(score.max(1).argmax())
    best = int(score[move].argmax())
    return _Fit(score[move], boxes[move], shown[move], float(inside[move, best] / size[best]))


def _spot(pixels: Floats, fit: _Fit, expected: Window) -> Spot:
    mask = expected.inside[fit.best] * fit.shown > 0.6
    patch = np.stack([_cut(pixels[..., channel], fit.box).ravel() for channel in range(3)], axis=-1)
    color, coat = _surface(patch, mask, expected.inks[fit.best])
    return Spot(fit.form, color, coat, fit.seen)


def _cover(visible: Floats, box: tuple[int, int, int, int], form: Floats) -> None:
    """Takes what a form covers out of what is visible."""
    y0, y1, x0, x1 = box
    cover = form.reshape(y1 - y0, x1 - x0)
    part = visible[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)]
    oy, ox = max(0, -y0), max(0, -x0)
    part *= 1 - cover[oy : oy + part.shape[0], ox : ox + part.shape[1]]


def _cut(field: Floats, box: tuple[int, int, int, int]) -> Floats:
    """A window of a field, zero where it reaches over the edge."""
    y0, y1, x0, x1 = box
    if y0 >= 0 and x0 >= 0 and y1 <= field.shape[0] and x1 <= field.shape[1]:
        return field[y0:y1, x0:x1]
    out = np.zeros((y1 - y0, x1 - x0), np.float32)
    part = field[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)]
    oy, ox = max(0, -y0), max(0, -x0)
    out[oy : oy + part.shape[0], ox : ox + part.shape[1]] = part
    return out


def _surface(patch: Floats, mask: npt.NDArray[np.bool_], inks: Floats) -> tuple[Floats, Floats]:
    """Colors and coat of the pixels under a form's mask. Patch (P, 3), mask (P,), inks (3, P)."""
    colors, coats = np.zeros(len(_COLOR_NAMES), np.float32), np.zeros(len(PATTERNS), np.float32)
    chosen = patch[mask]
    if len(chosen) < 3:
        return colors, coats
    # Under a lamp a color keeps its direction and changes its length: the best brightness for each.
    gain = np.clip((chosen @ _PALETTE.T) / (_PALETTE * _PALETTE).sum(1), 0.5, 1.12)
    misfit = ((chosen[:, None, :] - gain[..., None] * _PALETTE) ** 2).sum(-1)
    nearest = misfit.argmin(1)
    shares = np.bincount(nearest, minlength=len(_PALETTE)).astype(np.float32) / len(chosen)
    colors = shares[:-1].copy()
    # Coats are cream or ink: white and ink are the last to be believed as an object's own color.
    colors[_COLOR_NAMES.index("white")] *= np.float32(0.8)
    bright = chosen.mean(-1)
    fits = np.abs(unit(bright) @ unit(inks[:, mask]).T)
    coats[1:] = fits
    coats[0] = np.float32(0.42)
    return colors, coats


def _light(pixels: Floats, spots: dict[tuple[int, int], Spot]) -> Floats:
    """(4,): evidence for each light, from how dark the ground is beside and before the objects."""
    bright = pixels.mean(-1)
    dark = np.clip(1 - bright / np.maximum(np.median(bright, axis=1, keepdims=True), np.float32(0.05)), -0.3, 0.6)
    sides = np.zeros(3, np.float32)
    found = 0
    for (row, column), spot in spots.items():
        best = int(spot.form.argmax())
        if spot.form[best] < 0.4 or ((row + 1, column) in spots and spots[row + 1, column].form.max() > 0.3):
            continue
        size = window(RICH, row, GRAIN[RICH]).forms[best][1]
        r = layout.radius(RICH, row, size) / 4
        x, y = layout.column_x(RICH, column) / 4, layout.base_y(RICH, row) / 4
        y0, y1 = int(y - 0.25 * r), int(y + 0.2 * r) + 1
        right = dark[y0:y1, int(x + 1.35 * r) : int(x + 2.2 * r) + 1]
        left = dark[y0:y1, max(0, int(x - 2.2 * r)) : max(1, int(x - 1.35 * r) + 1)]
        below = dark[int(y + 0.35 * r) : int(y + 0.8 * r) + 1, int(x - 0.5 * r) : int(x + 0.5 * r) + 1]
        if min(right.size, left.size, below.size) == 0:
            continue
        sides += np.asarray([left.mean(), right.mean(), below.mean()], np.float32)
        found += 1
    left_dark, right_dark, below_dark = sides / max(found, 1)
    rest = np.float32(0.055)
    return np.asarray(
        [right_dark - left_dark, left_dark - right_dark, rest, below_dark - max(left_dark, right_dark, 0)],
        np.float32,
    )


def _words(pixels: Floats) -> Floats:
    """(5, words): how well each word explains the board that may stand at each column."""
    high, wide = LETTERS
    out = []
    for column in range(len(COLUMNS[RICH])):
        left = int(layout.column_x(RICH, column) - layout.SIGN_WIDTH / 2)
        board = pixels[layout.SIGN_TOP : layout.SIGN_TOP + 33, left : left + 81].mean(-1)
        coarse = board.reshape(high, 3, wide, 3).mean((1, 3))
        # The frame is darker than any board and says nothing.
        inner, ink = coarse[2:-2, 2:-2].ravel(), signs().reshape(-1, high, wide)[:, 2:-2, 2:-2]
        out.append(np.abs(unit(ink.reshape(len(SIGN_WORDS), -1)) @ unit(inner)))
    return np.stack(out)


def _blobs(pixels: Floats) -> tuple[int, bool]:
    """How many things are up in the sky, and whether they are colored."""
    band = pixels[: layout.FLOCK_BOTTOM // 4]
    padded = np.pad(band, ((4, 4), (4, 4), (0, 0)), mode="edge")
    summed = padded.cumsum(0).cumsum(1)
    summed = np.pad(summed, ((1, 0), (1, 0), (0, 0)))
    local = (summed[9:, 9:] - summed[:-9, 9:] - summed[9:, :-9] + summed[:-9, :-9]) / 81
    apart = band - local
    hue = np.abs(apart - apart.mean(-1, keepdims=True)).sum(-1)
    dark = np.maximum(-apart.mean(-1), 0)
    colored = bool((hue > 0.3).mean() > 0.004)
    mask = (hue > 0.24) if colored else (dark > 0.15)
    return _components(mask), colored


def _components(mask: npt.NDArray[np.bool_]) -> int:
    """Connected groups of at least two pixels, diagonals included."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    count = 0
    while left:
        stack, size = [left.pop()], 0
        while stack:
            y, x = stack.pop()
            size += 1
            for near in ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
                if near in left:
                    left.remove(near)
                    stack.append(near)
        count += size >= 2
    return count


def believe(glance: Glance, rng: random.Random, heat: float, towards: tuple[int, int] | None = None) -> Facts:
    """What one look at a picture makes of it.

    Args:
        glance: The evidence.
        rng: Where the chance of this look comes from.
        heat: The sampling temperature; 0 takes the strongest evidence everywhere and uses no chance.
        towards: (row, column) of the place that is looked at; by chance, or the middle at heat 0, where None.
    """
    rows, columns = len(ROWS[glance.style]), len(COLUMNS[glance.style])
    if towards is None:
        towards = (rng.randrange(rows), rng.randrange(columns)) if heat > 0 else (rows // 2, columns // 2)
    noise = np.random.Generator(np.random.PCG64(rng.getrandbits(64)))

    def strongest(evidence: Floats, spread: float) -> int:
        if heat <= 0:
            return int(evidence.argmax())
        return int((evidence + np.float32(heat * spread) * noise.gumbel(size=evidence.shape)).argmax())

    things = []
    for row in range(rows):
        for column in range(columns):
            near = abs(row - towards[0]) + abs(column - towards[1]) <= 1
            spot = (glance.sharp if near else glance.blurred)[row, column]
            doubt = heat * noise.normal() * 0.07
            if float(spot.form.max()) + doubt < THERE:
                continue
            # Less of an object to see is more room for a mistake.
            vague = 1 + 2 * (1 - min(1.0, spot.seen))
            shape, size = window(glance.style, row, GRAIN[glance.style]).forms[strongest(spot.form, 0.035 * vague)]
            color = _COLOR_NAMES[strongest(spot.color, 0.08 * vague)]
            pattern = PATTERNS[strongest(spot.pattern, 0.05 * vague)] if glance.style == RICH else "plain"
            things.append(Thing(row, column, shape, color, pattern, size))
    if glance.style == PLAIN:
        return Facts(style=PLAIN, things=tuple(sorted(things)))
    sign = None
    if float(glance.words.max()) > 0.5:
        column = int(glance.words.max(1).argmax())
        blur = 0.02 + 0.06 * abs(column - towards[1]) / 4 + 0.04 * towards[0]
        sign = Sign(SIGN_WORDS[strongest(glance.words[column], blur)], "white", column)
    # Who looks at the ground in front counts the sky from the corner of the eye.
    count = glance.blobs[0] if towards[0] == 0 else max(glance.blobs[1], glance.blobs[0] - towards[0])
    flock = Flock("balloons" if glance.colored else "birds", min(12, count)) if count else None
    return Facts(
        style=RICH,
        things=tuple(sorted(things)),
        ground=GROUNDS[strongest(glance.ground, 0.25)],
        light=LIGHTS[strongest(glance.light, 0.05)],
        sign=sign,
        flock=flock,
    )
