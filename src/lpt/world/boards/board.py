"""A board of four by four cells, each with an arrow that has a color and leads to a neighbouring cell."""

import random
from typing import Final, NamedTuple

SIDE: Final = 4
CELLS: Final = tuple(f"{row}{column}" for row in "abcd" for column in "1234")
"""Their names, row by row: a1 is the upper left one."""
MOVES: Final = {"right": (0, 1), "left": (0, -1), "down": (1, 0), "up": (-1, 0)}
"""Rows and columns from here to there."""
COLORS: Final = ("red", "green", "blue", "yellow", "purple", "orange", "black", "white")
LINES: Final = {
    **{f"row {row}": tuple(range(at * SIDE, at * SIDE + SIDE)) for at, row in enumerate("abcd")},
    **{f"column {column}": tuple(range(at, SIDE * SIDE, SIDE)) for at, column in enumerate("1234")},
}
"""Rows and columns by name, with their cells."""
PALETTE: Final = 5
"""How many of the colors one board has."""


class OffBoard(ValueError):
    """A move leads off the board: nobody draws such an arrow, but it can be read into one."""


class Board(NamedTuple):
    """What is in each cell, row by row."""

    colors: tuple[str, ...]
    arrows: tuple[str, ...]

    def cells(self, color: str) -> tuple[int, ...]:
        """Where a color is, in the order of the cells."""
        return tuple(at for at, found in enumerate(self.colors) if found == color)

    def follow(self, start: int, steps: int) -> tuple[int, ...]:
        """The cells that so many arrows lead to, one after another.

        Raises:
            OffBoard: an arrow leads there.
        """
        found = []
        for _ in range(steps):
            start = step(start, self.arrows[start])
            found.append(start)
        return tuple(found)


def step(cell: int, move: str) -> int:
    """The neighbour of a cell.

    Raises:
        OffBoard: it has none there.
    """
    if move not in moves(cell):
        raise OffBoard(f"{CELLS[cell]} {move}")
    return cell + MOVES[move][0] * SIDE + MOVES[move][1]


def moves(cell: int) -> tuple[str, ...]:
    """The moves that do not lead off the board."""
    row, column = divmod(cell, SIDE)
    return tuple(
        move for move, (down, right) in MOVES.items() if 0 <= row + down < SIDE and 0 <= column + right < SIDE
    )


def board(rng: random.Random) -> Board:
    """A board by chance: five of the colors, each at least once, and no arrow that leads off it."""
    palette = rng.sample(COLORS, PALETTE)
    colors = palette + [rng.choice(palette) for _ in range(SIDE * SIDE - PALETTE)]
    rng.shuffle(colors)
    return Board(tuple(colors), tuple(rng.choice(moves(cell)) for cell in range(SIDE * SIDE)))
