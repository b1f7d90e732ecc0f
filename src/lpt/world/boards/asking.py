"""Questions about a board, and who solves them. What is asked is in the words: a stem can be read again.

Five kinds: `cell`, `follow`, `count` and `odd` are what the pipeline asks; `path` is never asked there, only when a
student is examined. One look is enough for `cell`; for the others it depends on who looks.
"""

import random
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from lpt.world.boards.board import CELLS, COLORS, MOVES, SIDE, Board, moves, step

KINDS: Final = ("cell", "follow", "count", "odd", "path")
TRAINED: Final = ("cell", "follow", "count", "odd")
STEPS: Final = (1, 2, 3, 4)
"""How many arrows are followed, or moves are made."""

_CELL: Final = "[a-d][1-4]"
_COLOR: Final = "|".join(COLORS)
_MOVE: Final = "|".join(MOVES)
_STEMS: Final = {
    "cell": re.compile(rf"Which color is on ({_CELL})\?"),
    "follow": re.compile(rf"Start at ({_CELL}) and follow (\d) arrows?: which color is there\?"),
    "count": re.compile(rf"How many arrows are ({_COLOR})\?"),
    "odd": re.compile(r"Which color is there only once\?"),
    "path": re.compile(rf"Start at ({_CELL}) and go ((?:{_MOVE})(?:, (?:{_MOVE}))*): which color is there\?"),
}


class Stem(NamedTuple):
    """What a question asks for."""

    kind: str
    start: int = 0
    """cell, follow and path: which cell."""
    steps: int = 0
    """follow: how many arrows."""
    color: str = ""
    """count: of what."""
    moves: tuple[str, ...] = ()
    """path: which."""

    def __str__(self) -> str:
        """The words of it."""
        start = CELLS[self.start]
        if self.kind == "follow":
            arrows = "arrow" if self.steps == 1 else "arrows"
            return f"Start at {start} and follow {self.steps} {arrows}: which color is there?"
        if self.kind == "cell":
            return f"Which color is on {start}?"
        if self.kind == "path":
            return f"Start at {start} and go {', '.join(self.moves)}: which color is there?"
        if self.kind == "count":
            return f"How many arrows are {self.color}?"
        return "Which color is there only once?"


class Question(NamedTuple):
    """A question with its options; `answer` is one of them."""

    stem: Stem
    options: tuple[str, ...]
    answer: str


def recognise(text: str) -> Stem | None:
    """The stem in a text; None where there is none of ours."""
    for kind, pattern in _STEMS.items():
        if found := pattern.search(text):
            if kind == "follow":
                return Stem(kind, CELLS.index(found[1]), int(found[2]))
            if kind == "cell":
                return Stem(kind, CELLS.index(found[1]))
            if kind == "path":
                return Stem(kind, CELLS.index(found[1]), moves=tuple(found[2].split(", ")))
            return Stem(kind, color=found[1] if kind == "count" else "")
    return None


def way(board: Board, stem: Stem) -> tuple[int, ...]:
    """The cells that one comes through, the last one being the one that is asked about; none where one stays."""
    if stem.kind == "follow":
        return board.follow(stem.start, stem.steps)
    found, here = [], stem.start
    for move in stem.moves:
        after = step(here, move)
        assert after is not None  # paths are made on the board
        here = after
        found.append(here)
    return tuple(found)


def solve(board: Board, stem: Stem) -> str:
    """The right answer."""
    if stem.kind == "count":
        return str(len(board.cells(stem.color)))
    if stem.kind == "odd":
        (color,) = alone(board)  # `odd` is asked only where it has an answer
        return color
    return board.colors[(stem.start, *way(board, stem))[-1]]


def alone(board: Board) -> list[str]:
    """The colors that are there only once."""
    return [color for color in sorted(set(board.colors)) if len(board.cells(color)) == 1]


def wander(start: int, steps: int, rng: random.Random) -> tuple[str, ...]:
    """So many moves by chance, none of which leads off the board."""
    taken: list[str] = []
    for _ in range(steps):
        taken.append(rng.choice(moves(start)))
        start = step(start, taken[-1]) or 0
    return tuple(taken)


def question(board: Board, kind: str, rng: random.Random) -> Question | None:
    """A question of a kind about a board; None where the board has none.

    The answer is drawn first and what is asked after it, so that answers come equally often wherever the board
    allows. Wrong options are colors that are on the board, or numbers around the right one.
    """
    made = _MAKERS[kind](board, rng)
    if made is None:
        return None
    stem, wrong = made
    answer = solve(board, stem)
    options = [answer, *wrong]
    rng.shuffle(options)
    return Question(stem, tuple(options), answer)


_Made = tuple[Stem, list[str]]


def _cell(board: Board, rng: random.Random) -> _Made | None:
    return _ending(board, rng, [Stem("cell", start) for start in range(SIDE * SIDE)])


def _follow(board: Board, rng: random.Random) -> _Made | None:
    steps = rng.choice(STEPS)
    return _ending(board, rng, [Stem("follow", start, steps) for start in range(SIDE * SIDE)])


def _path(board: Board, rng: random.Random) -> _Made | None:
    drawn = [Stem("path", start, moves=wander(start, rng.choice(STEPS), rng)) for start in range(SIDE * SIDE)]
    length = len(rng.choice(drawn).moves)
    return _ending(board, rng, [stem for stem in drawn if len(stem.moves) == length])


def _ending(board: Board, rng: random.Random, stems: list[Stem]) -> _Made:
    """One of the stems, the color that it ends on drawn first."""
    ends: dict[str, list[Stem]] = {}
    for stem in stems:
        ends.setdefault(solve(board, stem), []).append(stem)
    answer = rng.choice(sorted(ends))
    others = sorted(set(board.colors) - {answer})
    return rng.choice(ends[answer]), rng.sample(others, 3)


def _count(board: Board, rng: random.Random) -> _Made | None:
    numbers: dict[int, list[str]] = {}
    for color in sorted(set(board.colors)):
        numbers.setdefault(len(board.cells(color)), []).append(color)
    answer = rng.choice(sorted(numbers))
    least = max(0, answer - rng.randrange(4))
    wrong = [str(number) for number in range(least, least + 4) if number != answer]
    return Stem("count", color=rng.choice(numbers[answer])), wrong


def _odd(board: Board, rng: random.Random) -> _Made | None:
    found = alone(board)
    if len(found) != 1:
        return None
    return Stem("odd"), rng.sample(sorted(set(board.colors) - set(found)), 3)


_MAKERS: Final[dict[str, Callable[[Board, random.Random], _Made | None]]] = {
    "cell": _cell,
    "follow": _follow,
    "count": _count,
    "odd": _odd,
    "path": _path,
}
