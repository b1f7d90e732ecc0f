"""Questions about held-out scenes whose answers cannot be guessed: the items of scenes-bench.

Every question comes in a *set*: the same words and the same options in the same order, once for each option, each
time with another scene (or another text) in which that option is right. So whoever does not look is right exactly
once in as many times as there are options, whatever else it knows. The scenes are drawn apart from those of
`scene`: no number of demo scenes ever holds one of them.
"""

import random
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from lpt.world.bench_pairs import pairs
from lpt.world.kinds import solve
from lpt.world.logic import puzzles
from lpt.world.scene import Facts, Scene, Thing
from lpt.world.stage import blank, fill, places, reach
from lpt.world.words import COLORS, NUMBERS, PATTERNS, RICH, SHAPES, SIGN_WORDS, digest, draw

KINDS: Final = ("small", "cv", "pairs", "logic")
"""What each mirrors: V* (small things in big pictures), CV-Bench, MMVP, and the text-only part."""
BIG: Final = 2
"""How many times wider the pictures of `small` are."""


class Asked(msgspec.Struct, frozen=True):
    """One question of a bench, whatever it is shown with."""

    name: str
    """Unique; names its set and which of it this is."""
    category: str
    """`cv/count`: the kind, and what of it."""
    stem: str
    options: tuple[str, ...]
    answer: int
    """Which of the options is right."""
    cluster: str
    """Its set."""
    given: str = ""
    """What a text-only question is about, before its stem."""


class Probe(Asked, frozen=True):
    """One question of the bench of scenes."""

    scene: Scene | None = None
    """None: text only."""
    scale: int = 1
    """How many times the usual size its picture is painted in."""


_Look = tuple[str, str]
_Drafter = Callable[[random.Random], tuple[str, tuple[str, ...], list[Facts]]]


def bench(seed: int, sets: int = 12) -> Iterator[Probe]:
    """The questions of a seed: `sets` sets of each category, kind after kind.

    Raises:
        AssertionError: a question's solver and its truth disagree: our bug.
    """
    for category, draft in _DRAFTS.items():
        for number in range(sets):
            rng = draw("bench", seed, category, number)
            stem, options, made = draft(rng)
            name = f"{category}/{number:03d}"
            for right, facts in enumerate(made):
                assert solve(stem, options, facts) == options[right], (name, stem, options)
                index = digest("bench scene", seed, name, right) >> 16  # its backdrop and grain are its own
                scene = Scene(seed=-1 - seed, index=index, facts=facts, offsets=reach(facts, rng))
                scale = BIG if category.startswith("small") else 1
                yield Probe(f"{name}-{right}", category, stem, options, right, name, scene=scene, scale=scale)
    for number in range(sets * 3):
        rng = draw("bench", seed, "pairs", number)
        detail, stem, options, both = pairs(rng, -1 - seed, digest("bench scene", seed, "pairs", number) >> 16)
        name = f"pairs/{detail}/{number:03d}"
        for right, scene in enumerate(both):
            assert solve(stem, options, scene.facts) == options[right], (name, stem, options)
            yield Probe(f"{name}-{right}", f"pairs/{detail}", stem, options, right, name, scene=scene)
    for number in range(sets):
        for puzzle in puzzles(draw("bench", seed, "logic", number), number):
            name = f"logic/{puzzle.kind}/{number:03d}"
            for right, given in enumerate(puzzle.given):
                yield Probe(
                    f"{name}-{right}",
                    f"logic/{puzzle.kind}",
                    puzzle.asked,
                    puzzle.options,
                    right,
                    name,
                    given=given,
                )


def _looks(rng: random.Random, count: int) -> list[_Look]:
    """So many (color, shape), no color twice."""
    colors = rng.sample(tuple(COLORS), count)
    return [(color, rng.choice(SHAPES[RICH])) for color in colors]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _small_attribute(rng: random.Random) -> tuple[str, tuple[str, ...], list[Facts]]:
    """One small thing at the back: its color, its coat, or the word on the sign."""
    way = rng.choice(("color", "color", "pattern", "sign"))
    if way == "sign":
        words = tuple(rng.sample([word for word in SIGN_WORDS if len(word) == 4], 4))
        return "Which word is on the sign?", words, [fill(rng, [], word=word) for word in words]
    shape, color = rng.choice(SHAPES[RICH]), rng.choice(tuple(COLORS))
    if way == "color":
        colors = tuple(rng.sample(tuple(COLORS), 4))
        made = [
            fill(rng, [Thing(0, rng.randrange(5), shape, value, "plain", "small")], lambda s, c: s != shape)
            for value in colors
        ]
        return f"What color is the {shape}?", colors, made
    names = ("No pattern", "Stripes", "Spots", "Checks")
    order = rng.sample(range(4), 4)
    made = [
        fill(
            rng,
            [Thing(1, rng.randrange(5), shape, color, PATTERNS[value], "small")],
            lambda s, c: (s, c) != (shape, color),
        )
        for value in order
    ]
    return f"What pattern is on the {color} {shape}?", tuple(names[value] for value in order), made


def _between(
    rng: random.Random, way: str, axis: str, toward: int, size: str | None
) -> tuple[str, tuple[str, ...], list[Facts]]:
    """Which of two things is on this side of a third: each is, in one of two scenes."""
    ref, one, two = taken = _looks(rng, 3)
    options = (f"The {one[0]} {one[1]}", f"The {two[0]} {two[1]}")
    made = []
    for near, far in ((one, two), (two, one)):
        cells = places(rng, axis)
        if toward < 0:
            cells.reverse()
        # From the side that is not asked for to the one that is: far, the thing between, near.
        fixed = [
            Thing(row, column, shape, color, rng.choice(PATTERNS), size or rng.choice(("medium", "large")))
            for (row, column), (color, shape) in zip(cells, (far, ref, near), strict=True)
        ]
        made.append(fill(rng, fixed, lambda s, c: (c, s) not in taken))
    return f"Which of these objects is {way} than the {ref[0]} {ref[1]}?", options, made


def _small_position(rng: random.Random) -> tuple[str, tuple[str, ...], list[Facts]]:
    way, toward = rng.choice((("farther to the left", -1), ("farther to the right", 1)))
    return _between(rng, way, "column", toward, "small")


def _relation(rng: random.Random) -> tuple[str, tuple[str, ...], list[Facts]]:
    way, toward = rng.choice((("farther to the left", -1), ("farther to the right", 1)))
    return _between(rng, way, "column", toward, None)


def _depth(rng: random.Random) -> tuple[str, tuple[str, ...], list[Facts]]:
    way, toward = rng.choice((("closer to the viewer", 1), ("farther from the viewer", -1)))
    return _between(rng, way, "row", toward, None)


def _count(rng: random.Random) -> tuple[str, tuple[str, ...], list[Facts]]:
    """How many of a shape, of a color, or up in the sky: four numbers in a row."""
    way = rng.choice(("shape", "color", "flock"))
    first = rng.randint(1, 2) if way != "flock" else rng.randint(2, 5)
    numbers = rng.sample(range(first, first + 4), 4)
    options = tuple(_upper(NUMBERS[number]) for number in numbers)
    if way == "flock":
        # Their kind is told by what is beneath them: no lantern hangs in the open.
        return "How many balloons can be counted?", options, [fill(rng, [], balloons=n) for n in numbers]
    shape, color = rng.choice(SHAPES[RICH]), rng.choice(tuple(COLORS))
    made = []
    for number in numbers:
        cells = places(rng, None, number)
        if way == "shape":
            looks = [(shape, value) for value in rng.sample(tuple(COLORS), number)]
        else:
            looks = [(value, color) for value in rng.sample(SHAPES[RICH], number)]
        fixed = [
            Thing(row, column, s, c, rng.choice(PATTERNS), rng.choice(("medium", "large")))
            for (row, column), (s, c) in zip(cells, looks, strict=True)
        ]
        free = (lambda s, c: s != shape) if way == "shape" else (lambda s, c: c != color)
        made.append(fill(rng, fixed, free))
    noun = f"{shape}s" if way == "shape" else f"{color} objects"
    return f"How many {noun} are there?", options, made


_DRAFTS: Final[dict[str, _Drafter]] = {
    "small/attribute": _small_attribute,
    "small/position": _small_position,
    "cv/count": _count,
    "cv/relation": _relation,
    "cv/depth": _depth,
}

__all__ = ["BIG", "KINDS", "Asked", "Probe", "bench", "blank"]
