"""A second look that goes wrong at one place: one cell is misread, and all that is said follows from that."""

import random
from collections.abc import Iterator, Sequence

from lpt.world.boards.asking import Stem, alone, solve
from lpt.world.boards.board import COLORS, Board, moves
from lpt.world.boards.saying import counted, placed, walk


def astray(board: Board, stem: Stem, options: Sequence[str], end: str, rng: random.Random) -> str:
    """A look that comes to a wrong answer.

    An arrow that is followed wrongly is preferred to a color that is misread. Where no single cell explains the
    answer (a count that is two off, a color that is there three times), the look goes well up to its last
    statement, and that one is wrong.

    Args:
        board: what is to be seen.
        stem: what is asked.
        options: as they are shown; the right one is among them.
        end: the wrong option that the look comes to.
        rng: which slip it is.
    """
    for boards in (turned(board) if stem.kind == "follow" else (), recolored(board)):
        looks = sorted({walk(seen, stem, options) for seen in boards if _answer(seen, stem) == end})
        if looks:
            return rng.choice(looks)
    if stem.kind == "count":
        return counted(stem.color, board.cells(stem.color), end)
    assert stem.kind == "odd"  # whoever misreads the last color of a way comes to any end
    right = solve(board, stem)
    before = [placed(color, board.cells(color)) for color in options[: options.index(end)] if color != right]
    return " ".join([*before, placed(end, [rng.choice(board.cells(end))])])


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


def _answer(board: Board, stem: Stem) -> str | None:
    return None if stem.kind == "odd" and len(alone(board)) != 1 else solve(board, stem)
