"""A scene: what there is (`Facts`) and the small displacements that make each picture its own.

Objects stand on a lattice of places (rich: 5 columns x 3 rows in depth; plain: 3 x 3 on the page), so that every
spatial relation is decided by the places and a caption can carry all of it in words.
"""

import random
from collections.abc import Iterator
from typing import Final

import msgspec

from lpt.world.words import (
    COLORS,
    COLUMNS,
    FLOCKS,
    GROUNDS,
    INDOORS,
    LIGHTS,
    PATTERNS,
    PLAIN,
    PLAIN_COLORS,
    RICH,
    ROWS,
    SHAPES,
    SIGN_COLORS,
    SIGN_WORDS,
    SIZES,
    STYLES,
    draw,
)


class Thing(msgspec.Struct, frozen=True, order=True):
    """One object. Ordered by place, back to front, left to right."""

    row: int
    """0 is the back (rich) or the top (plain)."""
    column: int
    """0 is the left."""
    shape: str
    color: str
    pattern: str = "plain"
    size: str = "medium"


class Sign(msgspec.Struct, frozen=True):
    """A board on a post at the back of a rich scene."""

    word: str
    color: str
    column: int


class Flock(msgspec.Struct, frozen=True):
    """Several of a kind in the upper part of a rich scene."""

    kind: str
    count: int


class Facts(msgspec.Struct, frozen=True):
    """All that can be asked about, as it is or as a reader of words or pixels found it. None: unknown, absent."""

    style: str
    things: tuple[Thing, ...] = ()
    """Sorted; no two share a place, no two share color and shape."""
    ground: str | None = None
    light: str | None = None
    """Where the light comes from: left, right, above, behind (the objects)."""
    sign: Sign | None = None
    flock: Flock | None = None

    def hidden_by(self, front: Thing) -> Thing | None:
        """The object that `front` partly covers: the one right behind it (rich scenes only)."""
        if self.style != RICH:
            return None
        place = (front.row - 1, front.column)
        return next((thing for thing in self.things if (thing.row, thing.column) == place), None)


class Scene(msgspec.Struct, frozen=True):
    """One scene of the world, a function of (seed, index, style)."""

    seed: int
    index: int
    facts: Facts
    offsets: tuple[tuple[float, float], ...] = ()
    """How far each thing stands from its place's middle, pixels (x right, y down), aligned with `things`."""

    @property
    def name(self) -> str:
        """A file name without its ending. It says where the scene comes from and nothing of what it shows."""
        return f"{self.facts.style}-{self.seed}-{self.index:06d}"


_HIDDEN_SHARE: Final = 0.7
_SIGN_SHARE: Final = 0.55
_FLOCK_SHARE: Final = 0.75


def scene(seed: int, index: int, style: str = RICH) -> Scene:
    """Scene number `index` of the world `seed`.

    Args:
        seed: Which world.
        index: Which of its scenes, from 0.
        style: `rich` or `plain`.

    Raises:
        ValueError: The style is neither.
    """
    if style not in STYLES:
        raise ValueError(f"a scene is {' or '.join(STYLES)}, not {style!r}")
    rng = draw("scene", seed, index, style)
    facts = _rich(rng) if style == RICH else _plain(rng)
    reach = (6.0, 2.0) if style == RICH else (0.0, 0.0)
    offsets = tuple(
        (round(rng.uniform(-reach[0], reach[0]), 1), round(rng.uniform(-reach[1], reach[1]), 1))
        for _ in facts.things
    )
    return Scene(seed=seed, index=index, facts=facts, offsets=offsets)


def scenes(count: int, seed: int = 0, style: str = RICH) -> Iterator[tuple[Scene, str]]:
    """The first `count` scenes of a world, each with its name."""
    for index in range(count):
        made = scene(seed, index, style)
        yield made, made.name


def _kinds(
    rng: random.Random, count: int, shapes: tuple[str, ...], colors: tuple[str, ...]
) -> list[tuple[str, str]]:
    """Distinct (shape, color) pairs that repeat shapes and colors often enough to be worth counting."""
    few_shapes = rng.sample(shapes, min(len(shapes), max(2, count - 2)))
    few_colors = rng.sample(colors, min(len(colors), max(2, count - 1)))
    pairs = [(shape, color) for shape in few_shapes for color in few_colors]
    return rng.sample(pairs, count)


def _plain(rng: random.Random) -> Facts:
    count = rng.randint(2, 5)
    cells = rng.sample([(row, column) for row in range(3) for column in range(3)], count)
    kinds = _kinds(rng, count, SHAPES[PLAIN], PLAIN_COLORS)
    things = [Thing(row=r, column=c, shape=s, color=k) for (r, c), (s, k) in zip(cells, kinds, strict=True)]
    return Facts(style=PLAIN, things=tuple(sorted(things)))


def _rich(rng: random.Random) -> Facts:
    rows, columns = range(len(ROWS[RICH])), range(len(COLUMNS[RICH]))
    sign = None
    if rng.random() < _SIGN_SHARE:
        sign = Sign(word=rng.choice(SIGN_WORDS), color=rng.choice(SIGN_COLORS), column=rng.choice(columns))
    free = [(r, c) for r in rows for c in columns if not (sign and r == 0 and c == sign.column)]
    count = rng.randint(4, 7)
    chosen: list[tuple[int, int]] = []
    if rng.random() < _HIDDEN_SHARE:
        row, column = rng.choice([(r, c) for r, c in free if r > 0 and (r - 1, c) in free])
        chosen = [(row, column), (row - 1, column)]
    rng.shuffle(free)
    for cell in free:
        if len(chosen) == count:
            break
        if cell not in chosen:
            chosen.append(cell)
    sizes = _sizes(rng, sorted(chosen))
    kinds = _kinds(rng, len(chosen), SHAPES[RICH], tuple(COLORS))
    things = [
        Thing(
            row=cell[0],
            column=cell[1],
            shape=shape,
            color=color,
            pattern=PATTERNS[0] if rng.random() < 0.45 else rng.choice(PATTERNS[1:]),
            size=size,
        )
        for (cell, size), (shape, color) in zip(sizes.items(), kinds, strict=True)
    ]
    ground = rng.choice(GROUNDS)
    flock = None
    if rng.random() < _FLOCK_SHARE:
        # Lanterns need a ceiling, birds a sky.
        kinds_here = [kind for kind in FLOCKS if kind != ("birds" if ground in INDOORS else "lanterns")]
        flock = Flock(kind=rng.choice(kinds_here), count=rng.randint(2, 8))
    return Facts(
        style=RICH,
        things=tuple(sorted(things)),
        ground=ground,
        light=rng.choice(LIGHTS),
        sign=sign,
        flock=flock,
    )


def _sizes(rng: random.Random, cells: list[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """Sizes by place, back to front: what covers another must reach over it, and never be the bigger of the two."""
    sizes: dict[tuple[int, int], str] = {}
    for row, column in cells:
        behind = sizes.get((row - 1, column))
        covered = (row + 1, column) in cells
        least = 1 if behind or covered else 0
        most = SIZES.index(behind) if behind else 2
        sizes[row, column] = SIZES[rng.randint(least, most)]
    return sizes
