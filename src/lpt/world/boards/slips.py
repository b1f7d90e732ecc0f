"""A second look that goes wrong at one place: one cell is misread, and all that is said follows from that."""

import random
from collections.abc import Iterator

from lpt.world.boards.asking import Stem, solve
from lpt.world.boards.board import COLORS, Board, moves
from lpt.world.boards.board import board as drawn
from lpt.world.boards.saying import walk


def astray(board: Board, stem: Stem, end: str, rng: random.Random) -> str:
    """A look that comes to a wrong answer.

    An arrow that is followed wrongly is preferred to a color that is misread. Where no single cell explains the
    answer (a count that is two off), the look is at a board that is not there.

    Args:
        board: what is to be seen.
        stem: what is asked.
        end: the wrong answer that the look comes to.
        rng: which slip it is.
    """
    follows = stem.kind in ("follow", "when")
    for boards in (turned(board) if follows else (), recolored(board)):
        looks = sorted({walk(seen, stem) for seen in boards if solve(seen, stem) == end})
        if looks:
            return rng.choice(looks)
    seen = drawn(rng)
    while solve(seen, stem) != end:
        seen = drawn(rng)
    return walk(seen, stem)


def turned(board: Board) -> Iterator[Board]:
    """The boards that differ from one in one arrow."""
    for cell, arrow in enumerate(board.arrows):
        for move in moves(cell):
            if move != arrow:
                yield board._replace(arrows=_put(board.arrows, cell, move))


def recolored(board: Board) -> Iterator[Board]:
    """The boards that differ from one in one color."""
    for cell, there in enumerate(board.colors):
        for color in COLORS:
            if color != there:
                yield board._replace(colors=_put(board.colors, cell, color))


def _put(values: tuple[str, ...], at: int, value: str) -> tuple[str, ...]:
    return (*values[:at], value, *values[at + 1 :])
