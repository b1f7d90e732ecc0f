"""A board of four by four cells, each with an arrow that has a color and leads to a neighbouring cell."""

import random
from typing import Final, NamedTuple

SIDE: Final = 4
CELLS: Final = tuple(f"{row}{column}" for row in "abcd" for column in "1234")
"""Their names, row by row: a1 is the upper left one."""
MOVES: Final = {"right": (0, 1), "left": (0, -1), "down": (1, 0), "up": (-1, 0)}
"""Rows and columns from here to there."""
COLORS: Final = ("red", "green", "blue", "yellow", "purple", "orange", "black", "white")
PALETTE: Final = 5
"""How many of the colors one board has."""


class Board(NamedTuple):
    """What is in each cell, row by row."""

    colors: tuple[str, ...]
    arrows: tuple[str, ...]

    def cells(self, color: str) -> tuple[int, ...]:
        """Where a color is, in the order of the cells."""
        return tuple(at for at, found in enumerate(self.colors) if found == color)

    def follow(self, start: int, steps: int) -> tuple[int, ...]:
        """The cells that so many arrows lead to, one after another."""
        found = []
        for _ in range(steps):
            after = step(start, self.arrows[start])
            assert after is not None  # no arrow leads off the board
            start = after
            found.append(start)
        return tuple(found)


def step(cell: int, move: str) -> int | None:
    """The neighbour of a cell; None beyond the edge."""
    row, column = cell // SIDE + MOVES[move][0], cell % SIDE + MOVES[move][1]
    return row * SIDE + column if 0 <= row < SIDE and 0 <= column < SIDE else None


def moves(cell: int) -> tuple[str, ...]:
    """The moves that do not lead off the board."""
    return tuple(move for move in MOVES if step(cell, move) is not None)


def board(rng: random.Random) -> Board:
    """A board by chance: five of the colors, each at least once, and no arrow that leads off it."""
    palette = rng.sample(COLORS, PALETTE)
    colors = palette + [rng.choice(palette) for _ in range(SIDE * SIDE - PALETTE)]
    rng.shuffle(colors)
    return Board(tuple(colors), tuple(rng.choice(moves(cell)) for cell in range(SIDE * SIDE)))
