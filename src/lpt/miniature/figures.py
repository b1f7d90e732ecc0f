"""What the student can do, found out by one pass over right replies: no token is sampled.

A reply is said greedily to the letter if and only if each of its tokens is the likeliest after those before it. So
what a greedy answer would be right in, is known without writing it. Needs torch.
"""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lpt.miniature import lessons
from lpt.miniature.learning import Encoder, batch, hidden
from lpt.miniature.lessons import Lesson
from lpt.world.boards.asking import KINDS, Question, question, solve
from lpt.world.boards.board import Board


class Figures(NamedTuple):
    """Shares from 0 to 1, on boards that were not learnt from."""

    captions: float
    """Of the cells of a board, how many are told rightly."""
    steps: float
    """Replies to where some arrows lead, right in every word."""
    walks: float
    """Walks that it is told to take, right in every word."""
    glance: float
    """Questions answered rightly at a glance."""
    by: dict[str, float]
    """The same by kind and number of steps: follow-3."""
    ceiling: float
    """The same, had each question been solved without a mistake from what the student itself says is on the board:
    what looking again, cell by cell, could bring at most."""


def figures(model: Any, encoder: Encoder, boards: Sequence[Board], seen: Tensor) -> Figures:
    """Examine a student.

    Args:
        model: the student.
        encoder: of its tokenizer.
        boards: none of them learnt from.
        seen: what its vision tower makes of them.
    """
    model.eval()
    rng = random.Random(0)
    told = _said(model, encoder, [(at, lessons.describe(board)) for at, board in enumerate(boards)], seen)
    described = [_described(encoder.tokens, ids) for ids, _ in told]
    cells = [
        [mine == other for mine, other in zip(zip(*board, strict=True), zip(*own, strict=True), strict=True)]
        for board, own in zip(boards, described, strict=True)
    ]
    put = [(at, question(board, kind, rng)) for at, board in enumerate(boards) for kind in KINDS]
    right = [
        bool(hits.all()) for _, hits in _said(model, encoder, [(at, lessons.simple(one)) for at, one in put], seen)
    ]
    by: dict[str, list[bool]] = {}
    for (_, one), hit in zip(put, right, strict=True):
        by.setdefault(name(one), []).append(hit)
    again = [solve(described[at], one.stem) == one.answer for at, one in put]
    return Figures(
        captions=sum(map(sum, cells)) / (16 * len(boards)),
        steps=_whole(model, encoder, [(at, lessons.steps(board, rng)) for at, board in enumerate(boards)], seen),
        walks=_whole(model, encoder, [(at, lessons.walks(board, rng)) for at, board in enumerate(boards)], seen),
        glance=sum(right) / len(right),
        by={each: sum(hits) / len(hits) for each, hits in sorted(by.items())},
        ceiling=sum(again) / len(again),
    )


def _described(tokens: Any, ids: Tensor) -> Board:
    """A description's colors and arrows, each where it belongs: "a1 red right, a2 …", every word of it a token.

    It is not read as a caption is: a student that knows nothing repeats each word that it is given, so that the
    right description would stand there, one place later. Words that are no colors or arrows match none.
    """
    words = [tokens.decode([token]).strip() for token in ids.tolist()]
    return Board(tuple(words[1::4]), tuple(words[2::4]))


def name(put: Question) -> str:
    """A question's kind, with its number of steps where it has any."""
    length = put.stem.steps or len(put.stem.moves)
    return f"{put.stem.kind}-{length}" if length else put.stem.kind


def _whole(model: Any, encoder: Encoder, asked: Sequence[tuple[int, Lesson]], seen: Tensor) -> float:
    found = _said(model, encoder, asked, seen)
    return sum(bool(hits.all()) for _, hits in found) / len(found)


def _said(
    model: Any, encoder: Encoder, asked: Sequence[tuple[int, Lesson]], seen: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """For each reply the likeliest token at each place, after the right ones before it; and which are right."""
    found = []
    for at in range(0, len(asked), 128):
        rows = batch(encoder.encode(asked[at : at + 128]), encoder.image, encoder.tokens.pad_token_id)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            states = hidden(model, rows, seen, encoder.image)[:, :-1]
            likeliest = model.lm_head(states).argmax(-1)
        truth, learnt = rows.ids[:, 1:], rows.labels[:, 1:] != -100
        found += [
            (guess[mask], (guess == right)[mask])
            for guess, right, mask in zip(likeliest, truth, learnt, strict=True)
        ]
    return found
