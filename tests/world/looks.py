"""Boards answered and looks examined by the tests' own means: from captions and words."""

import re
from collections.abc import Iterator

from lpt.world.boards.asking import STEPS, Stem, solve
from lpt.world.boards.board import COLORS, Board, moves
from lpt.world.boards.talk import caption

TO = {"right": (0, 1), "left": (0, -1), "down": (1, 0), "up": (-1, 0)}


def told(text: str) -> dict[str, tuple[str, str]]:
    """A caption as it stands: cell → color, arrow."""
    return {cell: (color, move) for cell, color, move in (part.split() for part in text.rstrip(".").split(", "))}


def after(cell: str, move: str) -> str:
    """The cell that is next."""
    down, across = TO[move]
    return "abcd"["abcd".index(cell[0]) + down] + str(int(cell[1]) + across)


def line(stem: str) -> list[str]:
    """The cells of the row or column that a question names."""
    found = re.search(r"of (row|column) (\w)", stem)
    assert found
    return [f"{found[2]}{n}" for n in "1234"] if found[1] == "row" else [f"{row}{found[2]}" for row in "abcd"]


def by_hand(of: Board, stem: str) -> str | None:
    """The answer to a question; None where what it waits for does not come."""
    seen = told(caption(of))
    if stem.startswith("How many"):
        return str([seen[cell][0] for cell in line(stem)].count(stem.rstrip("?").split()[-1]))
    if stem.startswith("Which color is on"):
        return seen[stem[-3:-1]][0]
    here = stem.split()[2].rstrip(":")
    if "after how many" in stem:
        for turn in STEPS:
            here = after(here, seen[here][1])
            if seen[here][0] == stem.rstrip("?").split()[-1]:
                return str(turn)
        return None
    words = stem.removesuffix(": which color is there?").replace(",", "").split()
    for move in words[5:] if words[4] == "go" else [None] * int(words[5]):
        here = after(here, move or seen[here][1])
    return seen[here][0]


def false(of: Board, stem: Stem, look: str) -> set[tuple[str, str]]:
    """The cells that a look takes for what they are not: (cell, the color or arrow that it says).

    Raises:
        AssertionError: its clauses do not follow from one another, whatever the board is.
    """
    seen, wrong, end = told(caption(of)), set(), look.rstrip(".").split()[-1]
    for cell, color in re.findall(r"(\w\d)(?: to \w\d)? (?:is )?(\w{3,6})\b", re.sub(r"\w\d \w+ to ", "", look)):
        assert color in COLORS, look
        if seen[cell][0] != color:
            wrong.add((cell, color))
    if stem.kind == "count":
        clauses = [part.split() for part in look.rstrip(".").split(", ")]
        assert [clause[0] for clause in clauses] == line(str(stem)), look
        running = [sum(one[1] == stem.color for one in clauses[: at + 1]) for at in range(len(clauses))]
        assert [clause[2] for clause in clauses] == [str(number) for number in running], look
        return wrong
    here = start = str(stem).partition("at " if "at " in str(stem) else "on ")[2][:2]
    steps = re.findall(r"(\w\d) (\w+) to (\w\d)(?: ([a-z]+))? (\d)", look)
    for turn, (cell, move, there, color, number) in enumerate(steps, 1):
        assert (cell, there) == (here, after(here, move)), look
        assert number == str(turn), look
        assert (color == stem.color) == (turn == len(steps)) or stem.kind != "when", look
        if stem.kind != "path" and seen[cell][1] != move:
            wrong.add((cell, move))
        here = there
    if stem.kind == "when":
        assert steps[-1][4] == end, look
        return wrong
    length = {"cell": 0, "follow": stem.steps, "path": len(stem.moves)}[stem.kind]
    assert len(steps) == length, look
    assert stem.kind != "path" or tuple(move for _, move, *_ in steps) == stem.moves, look
    assert look.endswith(f"{here if steps else start} is {end}."), look
    return wrong


def one_slip(of: Board) -> Iterator[tuple[str, Board]]:
    """All boards that differ from one in one cell's arrow or color, and in which."""
    for at in range(16):
        for move in moves(at):
            if move != of.arrows[at]:
                yield "arrow", of._replace(arrows=(*of.arrows[:at], move, *of.arrows[at + 1 :]))
        for color in COLORS:
            if color != of.colors[at]:
                yield "color", of._replace(colors=(*of.colors[:at], color, *of.colors[at + 1 :]))


def explains(of: Board, stem: Stem, end: str) -> set[str]:
    """What could be misread in a single cell so that a wrong answer comes out: arrow, color."""
    return {what for what, seen in one_slip(of) if solve(seen, stem) == end}
