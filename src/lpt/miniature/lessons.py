"""What the student is taught before anything is asked of it: to see, to read, to step, to answer at a glance.

A lesson is a prompt and a reply. What a second look is made of is taught, as a grown model knows it: what a cell
holds, which cell is next, how to walk when told to walk. None of them holds a second look: to take one when a
question is asked, to doubt a first thought, to conclude from a walk, is what the pipeline's long thoughts bring.
"""

import random
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from lpt.synthesis import present
from lpt.world.boards import saying
from lpt.world.boards.asking import KINDS, STEPS, Question, Stem, question, solve
from lpt.world.boards.bench import in_words
from lpt.world.boards.board import CELLS, COLORS, LINES, Board, moves, step
from lpt.world.boards.talk import caption

SYSTEM: Final = "Look, think, then answer."
"""The system message of a question; the recipe's `think.prompt` says the same."""


class Lesson(NamedTuple):
    """One thing that is taught."""

    prompt: str
    reply: str
    seen: bool = True
    """Whether the board's picture is shown."""
    system: str = ""


def describe(board: Board) -> Lesson:
    """All that is on a board."""
    return Lesson("Describe the board.", caption(board))


def cells(board: Board, rng: random.Random) -> Lesson:
    """What some cells hold, in any order."""
    chosen = rng.sample(range(len(CELLS)), 6)
    reply = ", ".join(f"{CELLS[cell]} {board.colors[cell]} {board.arrows[cell]}" for cell in chosen)
    return Lesson(f"What is on {', '.join(CELLS[cell] for cell in chosen)}?", f"{reply}.")


def steps(board: Board, rng: random.Random) -> Lesson:
    """Where the arrows of some cells lead to."""
    chosen = rng.sample(range(len(CELLS)), 4)
    reply = ", ".join(
        f"{CELLS[cell]} {board.arrows[cell]} to {CELLS[step(cell, board.arrows[cell])]}" for cell in chosen
    )
    return Lesson(f"Where do {', '.join(CELLS[cell] for cell in chosen)} lead?", f"{reply}.")


def neighbours(rng: random.Random) -> Lesson:
    """Which cell is next to which: words alone."""
    asked = [(cell, rng.choice(moves(cell))) for cell in rng.sample(range(len(CELLS)), 5)]
    prompt = ", ".join(f"{CELLS[cell]} {move}" for cell, move in asked)
    reply = ", ".join(f"{CELLS[cell]} {move} to {CELLS[step(cell, move)]}" for cell, move in asked)
    return Lesson(f"Without a board: {prompt}.", f"{reply}.", seen=False)


def ahead(board: Board, rng: random.Random) -> Lesson:
    """Which color is so many arrows away from some cells: what a glance at `follow` must see at once."""
    count = rng.choice((0, 1, 1, 2, 2, 3))
    chosen = rng.sample(range(len(CELLS)), 8)
    prompt = f"Follow {count} arrows from {', '.join(CELLS[cell] for cell in chosen)}: which color is there?"
    ends = [(CELLS[cell], board.colors[(cell, *board.follow(cell, count))[-1]]) for cell in chosen]
    return Lesson(prompt, ", ".join(f"{cell} {color}" for cell, color in ends) + ".")


def counts(board: Board, rng: random.Random) -> Lesson:
    """How often a color is in each row and column: what a glance at `count` must see at once."""
    color = rng.choice(sorted(set(board.colors)))
    lines = rng.sample(sorted(LINES), len(LINES))
    reply = ", ".join(f"{line} {solve(board, Stem('count', color=color, line=line))}" for line in lines)
    return Lesson(f"How many arrows of {', '.join(lines)} are {color}?", f"{reply}.")


def walks(board: Board, rng: random.Random) -> Lesson:
    """From cell to cell, for who is told to: nothing is chosen, and nothing is concluded from it."""
    stem = question(board, rng.choice(KINDS), rng).stem
    return Lesson(f"{stem}{_TOLD}", saying.walk(board, stem))


def told_walks(board: Board, rng: random.Random) -> Lesson:
    """The same in words alone: what is on the cells is told, and not seen."""
    stem = Stem("follow", rng.randrange(len(CELLS)), rng.choice(STEPS))
    return Lesson(f"{in_words(board, stem, rng)}\n{stem}{_TOLD}", saying.walk(board, stem), seen=False)


_TOLD: Final = " Cell by cell."
"""Who is told so answers by going from cell to cell."""


def chain(board: Board, rng: random.Random) -> Lesson:
    """Walks, looks and words of second looks, one after another as it is told, by itself or as a turn that answers.

    So each may follow each: it is of what follows a question that none of them tells anything.
    """
    told, said = zip(*(_link(board, rng) for _ in range(rng.choice((1, 2, 3, 4)))), strict=True)
    if rng.random() < 0.5:
        return Lesson(" ".join(told), " ".join(said))
    answer = _what(rng)
    return Lesson(" ".join([*told, f"Say after me: {answer}"]), answered(" ".join(said), answer), system=SYSTEM)


def _link(board: Board, rng: random.Random) -> tuple[str, str]:
    """What is told, what is said."""
    kind = rng.choice(("look", "walk", "walk", "say", "say", "say"))
    if kind == "look":
        cell = rng.randrange(len(CELLS))
        return f"What is on {CELLS[cell]}?", f"{saying.held(board, cell)}."
    if kind == "say":
        said = _words(rng)
        return f"Say after me: {said}", said
    one = walks(board, rng)
    return one.prompt, one.reply


def _words(rng: random.Random) -> str:
    """Words of second looks and of glances, whatever the board shows: said after somebody, and nothing more."""
    start, what, other = rng.randrange(len(CELLS)), _what(rng), _what(rng)
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(("Wait,", "Hmm,", "Alternatively,", saying.maybe(what)))
    if kind == 1:
        return f"{saying.verdict(rng.choice(('', what, other)), what)}."
    stem = Stem("cell", start)
    if kind == 3:
        stem = Stem(rng.choice(("follow", "when", "count")), start, line=rng.choice(sorted(LINES)))
    return saying.glance(stem, what)


def _what(rng: random.Random) -> str:
    return rng.choice((rng.choice(COLORS), str(rng.randrange(5))))


def answered(thought: str, answer: str) -> str:
    """A turn as training sets write it."""
    return f"<think> {thought} </think> <answer> {answer} </answer>"


def asked(put: Question, reply: str) -> Lesson:
    """A question as the pipeline puts it."""
    return Lesson(present.prompt(str(put.stem), put.options, "text"), reply, system=SYSTEM)


def simple(put: Question) -> Lesson:
    """A question answered at a glance, rightly."""
    return asked(put, answered(saying.glance(put.stem, put.answer), put.answer))


def fewer(put: Question, rng: random.Random) -> Question:
    """The same question with two to four of its options: not all exams have four."""
    wrong = rng.sample([option for option in put.options if option != put.answer], rng.choice((1, 2, 3, 3)))
    return put._replace(options=tuple(option for option in put.options if option in (*wrong, put.answer)))


def read(board: Board, rng: random.Random) -> Lesson:
    """A question in words alone, answered at a glance."""
    put = fewer(question(board, "follow", rng), rng)
    one = simple(put)
    told = in_words(board, put.stem, rng, put.options)
    return one._replace(prompt=f"{told}\n{one.prompt}", seen=False)


_DRILLS: Final = {
    "cells": cells,
    "steps": steps,
    "ahead": ahead,
    "counts": counts,
    "read": read,
    "walks": walks,
    "told_walks": told_walks,
    "chain": chain,
}


def lesson(board: Board, rng: random.Random, shares: dict[str, float]) -> Lesson:
    """A lesson on a board: `shares` says how often each kind of lesson comes."""
    kind = rng.choices([*shares], [*shares.values()])[0]
    if kind == "simple":
        return simple(fewer(question(board, rng.choice(KINDS), rng), rng))
    if kind == "describe":
        return describe(board)
    if kind == "neighbours":
        return neighbours(rng)
    return _DRILLS[kind](board, rng)


def texts(boards: Iterable[Board], rng: random.Random) -> Iterator[str]:
    """What a tokenizer learns its words from: lessons, and the words of second looks, none of which is a lesson."""
    shares = dict.fromkeys(("describe", "neighbours", "simple", *_DRILLS), 1.0)
    yield from (f"so Wait, Hmm, Alternatively, {saying.maybe('red')} {number}" for number in range(17))
    for board in boards:
        one = lesson(board, rng, shares)
        yield f"system\n{one.system}\nuser\n{one.prompt}\nassistant\n{one.reply}"
        put = question(board, rng.choice(KINDS), rng)
        claims = (saying.verdict(before, put.answer) for before in ("", put.answer, put.options[0]))
        yield " ".join([saying.walk(board, put.stem), *claims])
