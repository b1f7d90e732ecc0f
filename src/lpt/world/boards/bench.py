"""Questions about held-out boards whose answers cannot be guessed: the items of boards-bench.

Every question comes in a *set*: the same words and the same options in the same order, once for each option, each
time with another board (or another text) in which that option is right. So whoever does not look is right exactly
once in as many times as there are options. The boards are drawn apart from those that students learn on.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from lpt.world.bench import Asked
from lpt.world.boards.asking import STEPS, Stem, recognise, solve, wander, way
from lpt.world.boards.board import CELLS, COLORS, LINES, PALETTE, Board, board, moves, step
from lpt.world.boards.picture import STYLES
from lpt.world.boards.talk import listed, told
from lpt.world.words import draw

KINDS: Final = ("near", "far", "pairs", "text")
"""What each mirrors: V* (hardly more than one cell matters), CV-Bench (several cells must be put together), MMVP,
and the text-only part."""
FURTHER: Final = ("unseen", "dusk")
"""Beside them: the kind of question that no long thought was made of, and the other style of picture."""
_TOLD: Final = 8
"""How many cells a text tells of."""


class Probe(Asked, frozen=True):
    """One question of the bench."""

    board: Board | None = None
    """None: text only."""
    style: str = STYLES[0]
    grain: str = ""
    """What its picture's irregularities depend on; both of a pair have the same."""


_Set = tuple[Stem, Sequence[str], Sequence[Board]]
_Drafter = Callable[[random.Random], _Set]


def bench(seed: int, sets: int = 24) -> Iterator[Probe]:
    """The questions of a seed: `sets` sets of each category, twice as many of pairs and of text, kind after kind.

    Raises:
        AssertionError: a question's solver and its truth disagree: our bug.
    """
    for category, draft in _DRAFTS.items():
        kind = category.partition("/")[0]
        for number in range(sets * 2 if kind == "pairs" else sets):
            stem, options, boards = draft(draw("boards bench", seed, category, number))
            name = f"{category}/{number:03d}"
            for right, shown in enumerate(boards):
                assert solve(shown, stem) == options[right], (name, stem, options)
                yield Probe(
                    f"{name}-{right}",
                    category,
                    str(stem),
                    tuple(options),
                    right,
                    name,
                    board=shown,
                    style=kind if kind in STYLES else STYLES[0],
                    grain=f"{seed} {name}" if kind == "pairs" else f"{seed} {name}-{right}",
                )
    for number in range(sets * 2):
        category = "text/follow"
        name = f"{category}/{number:03d}"
        rng = draw("boards bench", seed, category, number)
        stem, options, boards = _follow(rng.choice(STEPS[1:]))(rng)
        for right, shown in enumerate(boards):
            given = in_words(shown, stem, rng, options)
            assert solve_text(f"{given}\n{stem}") == options[right], (name, given, stem)
            yield Probe(f"{name}-{right}", category, str(stem), tuple(options), right, name, given)


def in_words(made: Board, stem: Stem, rng: random.Random, colors: Sequence[str] = ()) -> str:
    """Some of a board's cells in words: those on the way of a question, and some of each of the colors."""
    needed = {stem.start, *way(made, stem)}
    for color in colors:
        if color not in {made.colors[cell] for cell in needed}:
            needed.add(rng.choice([cell for cell, other in enumerate(made.colors) if other == color]))
    rest = [cell for cell in range(len(CELLS)) if cell not in needed]
    shown = [*needed, *rng.sample(rest, _TOLD - len(needed))]
    rng.shuffle(shown)
    return f"Without a board: {listed(made, shown)}"


def solve_text(text: str) -> str | None:
    """The color that a question without a board leads to; None where the text is none, or does not lead there."""
    stem, given = recognise(text), told(text)
    if stem is None or stem.kind != "follow" or CELLS[stem.start] not in given:
        return None
    here = CELLS[stem.start]
    for _ in range(stem.steps):
        if given[here][1] not in moves(CELLS.index(here)):
            return None
        here = CELLS[step(CELLS.index(here), given[here][1])]
        if here not in given:
            return None
    return given[here][0]


def _follow(steps: int) -> _Drafter:
    return lambda rng: _colors(rng, Stem("follow", rng.randrange(len(CELLS)), steps))


def _path(steps: int) -> _Drafter:
    def draft(rng: random.Random) -> _Set:
        start = rng.randrange(len(CELLS))
        return _colors(rng, Stem("path", start, moves=wander(start, steps, rng)))

    return draft


def _colors(rng: random.Random, stem: Stem) -> _Set:
    """A board for each of four colors, all of them on each board: which are there tells nothing."""
    options = rng.sample(COLORS, 4)
    boards = []
    for right in options:
        made = board(rng)
        others = [other for other in options if other != right]
        boards.append(_renamed(rng, made, _solved(made, stem), right, others))
    return stem, options, boards


def _when(rng: random.Random) -> _Set:
    start, color = rng.randrange(len(CELLS)), rng.choice(COLORS)
    return _numbers(rng, Stem("when", start, color=color), STEPS)


def _count(rng: random.Random) -> _Set:
    return _numbers(rng, Stem("count", color=rng.choice(COLORS), line=rng.choice(sorted(LINES))), range(4))


def _numbers(rng: random.Random, stem: Stem, numbers: Sequence[int]) -> _Set:
    """A board for each of four numbers, the color that is asked for on each of them."""
    options = [str(number) for number in rng.sample(numbers, 4)]
    boards = []
    for number in options:
        found: list[str] = []
        while not found:
            made = board(rng)
            found = [each for each in sorted(set(made.colors)) if solve(made, stem._replace(color=each)) == number]
        boards.append(_renamed(rng, made, rng.choice(found), stem.color, ()))
    return stem, options, boards


def _renamed(rng: random.Random, made: Board, old: str, new: str, others: Sequence[str]) -> Board:
    """The board in other colors: `new` where `old` was, and `others` among the rest.

    Boards are drawn without regard to what a color is called, so a renamed one is as likely as any.
    """
    rest = [color for color in sorted(set(made.colors)) if color != old]
    free = [color for color in COLORS if color != new and color not in others]
    names = [*others, *rng.sample(free, PALETTE - 1 - len(others))]
    called = {old: new} | dict(zip(rng.sample(rest, len(rest)), names, strict=True))
    return made._replace(colors=tuple(called[color] for color in made.colors))


def _arrow_turned(rng: random.Random) -> _Set:
    """Two boards that differ in one arrow on the way."""
    stem = Stem("follow", rng.randrange(len(CELLS)), rng.choice(STEPS))
    while True:
        made = board(rng)
        at = rng.choice((stem.start, *way(made, stem)[:-1]))
        other = made._replace(arrows=_with(made.arrows, at, rng.choice(moves(at))))
        if solve(other, stem) != solve(made, stem):
            return _pair(rng, stem, made, other)


def _color_changed(rng: random.Random) -> _Set:
    """Two boards that differ in one color: that at the end of a way, or one that is counted."""
    stem = Stem("follow", rng.randrange(len(CELLS)), rng.choice(STEPS))
    if rng.random() < 0.5:
        stem = Stem("count", color=rng.choice(COLORS), line=rng.choice(sorted(LINES)))
    while True:
        made = board(rng)
        at = way(made, stem)[-1] if stem.kind == "follow" else rng.choice(LINES[stem.line])
        other = made._replace(colors=_with(made.colors, at, rng.choice(sorted(set(made.colors)))))
        # What is asked for is there on both, and so are the colors that are the options.
        whole = set(other.colors) == set(made.colors) >= {stem.color or other.colors[at]}
        if whole and solve(other, stem) != solve(made, stem):
            return _pair(rng, stem, made, other)


def _with(values: tuple[str, ...], at: int, value: str) -> tuple[str, ...]:
    return *values[:at], value, *values[at + 1 :]


def _pair(rng: random.Random, stem: Stem, *boards: Board) -> _Set:
    both = rng.sample(boards, 2)  # which of the two comes first says nothing
    return stem, [_solved(each, stem) for each in both], both


def _solved(shown: Board, stem: Stem) -> str:
    answer = solve(shown, stem)
    assert answer is not None
    return answer


_FAR: Final[dict[str, _Drafter]] = {
    "follow-2": _follow(2),
    "follow-3": _follow(3),
    "follow-4": _follow(4),
    "when": _when,
    "count": _count,
}
_DRAFTS: Final[dict[str, _Drafter]] = {
    "near/cell": lambda rng: _colors(rng, Stem("cell", rng.randrange(len(CELLS)))),
    "near/follow-1": _follow(1),
    **{f"far/{name}": draft for name, draft in _FAR.items()},
    "pairs/arrow": _arrow_turned,
    "pairs/color": _color_changed,
    **{f"unseen/path-{steps}": _path(steps) for steps in STEPS[1:]},
    **{f"dusk/{name}": draft for name, draft in _FAR.items() if name != "follow-4"},
}
