"""A board in words and back: one grammar for captions, so that who reads one knows all that is to be seen."""

import re
from typing import Final

from lpt.world.boards.board import CELLS, COLORS, MOVES, Board

_CELL: Final = re.compile(rf"\b([a-d][1-4]) ({'|'.join(COLORS)}) ({'|'.join(MOVES)})\b")


def caption(board: Board) -> str:
    """A dense caption: "a1 red right, a2 blue down, …"."""
    each = (" ".join(cell) for cell in zip(CELLS, board.colors, board.arrows, strict=True))
    return ", ".join(each) + "."


def read(text: str) -> Board | None:
    """The last board that a text tells of; None where it tells of none, or not of all cells."""
    found = {cell: (color, move) for cell, color, move in _CELL.findall(text)}
    if len(found) < len(CELLS):
        return None
    return Board(tuple(found[cell][0] for cell in CELLS), tuple(found[cell][1] for cell in CELLS))
