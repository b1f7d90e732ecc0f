"""Questions about a board, and who solves them. What is asked is in the words: a stem can be read again.

Five kinds: `cell`, `follow`, `when` and `count` are what the pipeline asks; `path` is never asked there, only when
a student is examined. One look is enough for `cell`; for the others it depends on who looks.
"""

import random
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from lpt.world.boards.board import CELLS, COLORS, LINES, MOVES, SIDE, Board, OffBoard, moves, step

KINDS: Final = ("cell", "follow", "when", "count", "path")
TRAINED: Final = ("cell", "follow", "when", "count")
STEPS: Final = (1, 2, 3, 4)
"""How many arrows are followed, or moves are made."""

_CELL: Final = "[a-d][1-4]"
_COLOR: Final = "|".join(COLORS)
_MOVE: Final = "|".join(MOVES)
_STEMS: Final = {
    "cell": re.compile(rf"Which color is on (?P<start>{_CELL})\?"),
    "follow": re.compile(rf"Start at (?P<start>{_CELL}) and follow (?P<steps>\d) arrows?: which color is there\?"),
    "when": re.compile(rf"Start at (?P<start>{_CELL}): after how many arrows comes (?P<color>{_COLOR})\?"),
    "count": re.compile(rf"How many arrows of (?P<line>{'|'.join(LINES)}) are (?P<color>{_COLOR})\?"),
    "path": re.compile(
        rf"Start at (?P<start>{_CELL}) and go (?P<moves>(?:{_MOVE})(?:, (?:{_MOVE}))*): which color is there\?"
    ),
}


class Stem(NamedTuple):
    """What a question asks for."""

    kind: str
    start: int = 0
    """All but count: at which cell."""
    steps: int = 0
    """follow: how many arrows."""
    color: str = ""
    """when: what comes; count: of what."""
    moves: tuple[str, ...] = ()
    """path: which."""
    line: str = ""
    """count: the row or column."""

    def __str__(self) -> str:
        """The words of it."""
        start = CELLS[self.start]
        if self.kind == "cell":
            return f"Which color is on {start}?"
        if self.kind == "follow":
            arrows = "arrow" if self.steps == 1 else "arrows"
            return f"Start at {start} and follow {self.steps} {arrows}: which color is there?"
        if self.kind == "when":
            return f"Start at {start}: after how many arrows comes {self.color}?"
        if self.kind == "count":
            return f"How many arrows of {self.line} are {self.color}?"
        return f"Start at {start} and go {', '.join(self.moves)}: which color is there?"


class Question(NamedTuple):
    """A question with its options; `answer` is one of them."""

    stem: Stem
    options: tuple[str, ...]
    answer: str


def recognise(text: str) -> Stem | None:
    """The stem in a text; None where there is none of ours."""
    for kind, pattern in _STEMS.items():
        if found := pattern.search(text):
            said = found.groupdict()
            return Stem(
                kind,
                CELLS.index(said.get("start", CELLS[0])),
                int(said.get("steps", 0)),
                said.get("color", ""),
                tuple(said["moves"].split(", ")) if "moves" in said else (),
                said.get("line", ""),
            )
    return None


def way(board: Board, stem: Stem) -> tuple[int, ...]:
    """The cells that one comes through, the last one being the one that is asked about; none where one stays.

    Raises:
        OffBoard: it leads there.
    """
    if stem.kind == "when":
        return board.follow(stem.start, int(solve(board, stem) or 0))
    if stem.kind == "follow":
        return board.follow(stem.start, stem.steps)
    found, here = [], stem.start
    for move in stem.moves:
        here = step(here, move)
        found.append(here)
    return tuple(found)


def solve(board: Board, stem: Stem) -> str | None:
    """The right answer; None where there is none: a way leads off the board, a color does not come."""
    try:
        if stem.kind == "count":
            return str(sum(board.colors[cell] == stem.color for cell in LINES[stem.line]))
        if stem.kind == "when":
            met = [board.colors[cell] for cell in board.follow(stem.start, STEPS[-1])]
            return str(met.index(stem.color) + 1) if stem.color in met else None
        return board.colors[(stem.start, *way(board, stem))[-1]]
    except OffBoard:
        return None


def wander(start: int, steps: int, rng: random.Random) -> tuple[str, ...]:
    """So many moves by chance, none of which leads off the board."""
    taken: list[str] = []
    for _ in range(steps):
        taken.append(rng.choice(moves(start)))
        start = step(start, taken[-1])
    return tuple(taken)


def question(board: Board, kind: str, rng: random.Random) -> Question:
    """A question of a kind about a board.

    The answer is drawn first and what is asked after it, so that answers come equally often wherever the board
    allows. Wrong options are colors that are on the board, or numbers around the right one.
    """
    stem, wrong = _MAKERS[kind](board, rng)
    answer = solve(board, stem)
    assert answer is not None
    options = [answer, *wrong]
    rng.shuffle(options)
    return Question(stem, tuple(options), answer)


_Made = tuple[Stem, list[str]]


def _cell(board: Board, rng: random.Random) -> _Made:
    return _ending(board, rng, [Stem("cell", start) for start in range(SIDE * SIDE)])


def _follow(board: Board, rng: random.Random) -> _Made:
    steps = rng.choice(STEPS)
    return _ending(board, rng, [Stem("follow", start, steps) for start in range(SIDE * SIDE)])


def _path(board: Board, rng: random.Random) -> _Made:
    drawn = [Stem("path", start, moves=wander(start, rng.choice(STEPS), rng)) for start in range(SIDE * SIDE)]
    length = len(rng.choice(drawn).moves)
    return _ending(board, rng, [stem for stem in drawn if len(stem.moves) == length])


def _ending(board: Board, rng: random.Random, stems: list[Stem]) -> _Made:
    """One of the stems, the color that it ends on drawn first."""
    ends: dict[str, list[Stem]] = {}
    for stem in stems:
        ends.setdefault(solve(board, stem) or "", []).append(stem)
    answer = rng.choice(sorted(ends))
    others = sorted(set(board.colors) - {answer})
    return rng.choice(ends[answer]), rng.sample(others, 3)


def _when(board: Board, rng: random.Random) -> _Made:
    found: dict[str, list[Stem]] = {}
    for start in range(SIDE * SIDE):
        for color in sorted(set(board.colors)):
            stem = Stem("when", start, color=color)
            if answer := solve(board, stem):
                found.setdefault(answer, []).append(stem)
    answer = rng.choice(sorted(found))
    return rng.choice(found[answer]), [str(number) for number in STEPS if str(number) != answer]


def _count(board: Board, rng: random.Random) -> _Made:
    numbers: dict[int, list[Stem]] = {}
    for line in LINES:
        for color in sorted(set(board.colors)):
            stem = Stem("count", color=color, line=line)
            numbers.setdefault(int(solve(board, stem) or 0), []).append(stem)
    answer = rng.choice(sorted(numbers.keys() & {0, 1, 2, 3}))
    return rng.choice(numbers[answer]), [str(number) for number in range(4) if number != answer]


_MAKERS: Final[dict[str, Callable[[Board, random.Random], _Made]]] = {
    "cell": _cell,
    "follow": _follow,
    "when": _when,
    "count": _count,
    "path": _path,
}
