"""What is said about a board: a glance names what it comes to; a second look goes from cell to cell.

Every second look ends on its answer as the last word, so that who has gone through it need only repeat that.
"""

from collections.abc import Sequence

from lpt.world.boards.asking import Stem, solve, way
from lpt.world.boards.board import CELLS, Board


def glance(board: Board, stem: Stem, answer: str) -> str:
    """The short thought of one look, which comes to an answer."""
    if stem.kind == "count":
        return f"I see {answer} {stem.color} arrows."
    if stem.kind == "odd":
        return f"Only one arrow is {answer}."
    if stem.kind == "cell":
        return f"I see {answer} there."
    return f"I come to {answer}."


def walk(board: Board, stem: Stem, options: Sequence[str]) -> str:
    """A look at one cell after another, up to where the answer stands before one; options as they are shown."""
    if stem.kind == "count":
        return counted(stem.color, board.cells(stem.color))
    if stem.kind == "odd":
        found = options[: options.index(solve(board, stem)) + 1]
        return " ".join(placed(color, board.cells(color)) for color in found)
    here, said = stem.start, []
    for turn, there in enumerate(way(board, stem)):
        move = board.arrows[here] if stem.kind == "follow" else stem.moves[turn]
        said.append(f"{CELLS[here]} {move} to {CELLS[there]}")
        here = there
    end = f"{held(board, here)}."
    return f"{', '.join(said)}. {end}" if said else end


def counted(color: str, cells: Sequence[int], result: str = "") -> str:
    """A color's cells with their numbers; `result` in place of the last number."""
    if not cells or result == "0":
        return f"{color} is nowhere, so 0."
    numbers = [*map(str, range(1, len(cells))), result or str(len(cells))]
    each = (f"{CELLS[cell]} {number}" for cell, number in zip(cells, numbers, strict=True))
    return f"{color} is on {', '.join(each)}."


def placed(color: str, cells: Sequence[int]) -> str:
    """Whether a color is there only once, by the first two of its cells."""
    if len(cells) == 1:
        return f"{color} is on {CELLS[cells[0]]} alone."
    return f"{color} is on {' and '.join(CELLS[cell] for cell in cells[:2])}."


def maybe(option: str) -> str:
    """Another answer, thought of before it is looked for."""
    return f"maybe {option}."


def held(board: Board, cell: int) -> str:
    """What a cell has, as a clause."""
    return f"{CELLS[cell]} is {board.colors[cell]}"


def verdict(before: str, after: str) -> str:
    """How the answer of a second look stands to the first one's; ends on the answer."""
    if not before:
        return f"So it is {after}"
    return f"Yes, it is {after}" if before == after else f"Not {before}, it is {after}"
