"""A board in words and back: one grammar for captions, so that who reads one knows all that is to be seen."""

import re
from collections.abc import Iterable
from typing import Final

from lpt.world.boards.board import CELLS, COLORS, MOVES, Board

_CELL: Final = re.compile(rf"\b([a-d][1-4]) ({'|'.join(COLORS)}) ({'|'.join(MOVES)})\b")


def caption(board: Board) -> str:
    """A dense caption: "a1 red right, a2 blue down, …"."""
    return listed(board, range(len(CELLS)))


def listed(board: Board, cells: Iterable[int]) -> str:
    """The same of some cells, in their order."""
    return ", ".join(f"{CELLS[cell]} {board.colors[cell]} {board.arrows[cell]}" for cell in cells) + "."


def told(text: str) -> dict[str, tuple[str, str]]:
    """The cells that a text tells of, each with its color and arrow, as it says last."""
    return {cell: (color, move) for cell, color, move in _CELL.findall(text)}


def read(text: str) -> Board | None:
    """The last board that a text tells of; None where it tells of none, or not of all cells."""
    found = told(text)
    if len(found) < len(CELLS):
        return None
    return Board(tuple(found[cell][0] for cell in CELLS), tuple(found[cell][1] for cell in CELLS))
