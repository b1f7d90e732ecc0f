"""What is said about a board: a glance names what it comes to; a second look goes from cell to cell.

Every second look ends on its answer as the last word, so that who has gone through it need only repeat that.
"""

from collections.abc import Sequence

from lpt.world.boards.asking import Stem, way
from lpt.world.boards.board import CELLS, LINES, Board


def glance(stem: Stem, answer: str) -> str:
    """The short thought of one look, which comes to an answer."""
    start = CELLS[stem.start]
    if stem.kind == "cell":
        return f"{start} is {answer}."
    if stem.kind == "count":
        return f"Of {stem.line} I count {answer}."
    return f"From {start} I count {answer}." if stem.kind == "when" else f"From {start} I come to {answer}."


def walk(board: Board, stem: Stem) -> str:
    """A look at one cell after another, up to where the answer stands before one."""
    if stem.kind == "count":
        return counted([board.colors[cell] for cell in LINES[stem.line]], stem)
    here, said = stem.start, []
    for turn, there in enumerate(way(board, stem), 1):
        move = stem.moves[turn - 1] if stem.kind == "path" else board.arrows[here]
        color = f" {board.colors[there]}" if stem.kind == "when" else ""
        # Each step has its number: whoever walks has to know when to stop.
        said.append(f"{CELLS[here]} {move} to {CELLS[there]}{color} {turn}")
        here = there
    if stem.kind == "when":
        return f"{', '.join(said)}."
    end = f"{held(board, here)}."
    return f"{', '.join(said)}. {end}" if said else end


def counted(colors: Sequence[str], stem: Stem) -> str:
    """A row or column, cell by cell, with how many there are so far."""
    so_far, said = 0, []
    for cell, color in zip(LINES[stem.line], colors, strict=True):
        so_far += color == stem.color
        said.append(f"{CELLS[cell]} {color} {so_far}")
    return f"{', '.join(said)}."


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
