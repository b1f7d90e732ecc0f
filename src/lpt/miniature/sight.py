"""The vision tower's first lessons: to say of each image token which cell it is, its color, where its arrow goes.

Each image token is held against the embeddings of the words that it should bring to mind. So what is learnt is the
tower, and the words' embeddings with it, and the language model finds its pictures readable from the first step.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from lpt.miniature.learning import descend, patches, scheduled, see
from lpt.world.boards.board import CELLS, COLORS, MOVES, Board

_WORDS: Final = (CELLS, COLORS, tuple(MOVES))
_BATCH: Final = 64
_PEAK: Final = 2e-3
_LOUDNESS: Final = 2.0
"""How large image tokens are beside words, as a ratio of root mean squares."""


def learn(
    model: Any, tokens: Any, boards: Sequence[Board], steps: int, tell: Callable[[int, float, float], None]
) -> None:
    """Teach the tower, then bring what it says to the loudness of words.

    Args:
        model: the student; its tower and its words' embeddings change.
        tokens: its tokenizer, in which each of the words is one token.
        boards: what is looked at; their grains are their numbers.
        steps: batches of 64 boards.
        tell: is told the step, the loss, and the share of words that are right.
    """
    words = [torch.tensor([_id(tokens, word) for word in group]) for group in _WORDS]
    core = model.model
    moving = [*core.visual.parameters(), core.language_model.embed_tokens.weight]
    optimizer = torch.optim.AdamW(moving, _PEAK, betas=(0.9, 0.98))
    draws = torch.Generator().manual_seed(0)
    seen = torch.cat(
        [patches(boards[at : at + 256], range(at, len(boards))[:256]) for at in range(0, len(boards), 256)]
    )
    truth = torch.tensor([_labels(board) for board in boards])  # (boards, 3, 16)
    for step in range(1, steps + 1):
        drawn = torch.randint(len(boards), (_BATCH,), generator=draws)
        guesses = _guess(model, see(model, seen[drawn]), words)
        right = truth[drawn].transpose(0, 1).flatten(1)
        loss = torch.stack(
            [functional.cross_entropy(guess, label) for guess, label in zip(guesses, right, strict=True)]
        ).sum()
        descend(optimizer, loss, _PEAK * scheduled(step, steps, rise=20))
        hits = [(guess.argmax(-1) == label).float().mean() for guess, label in zip(guesses, right, strict=True)]
        tell(step, float(loss.detach()), float(torch.stack(hits).mean()))
    _soften(model, see(model, seen[:_BATCH]))


def _guess(model: Any, tokens: Tensor, words: Sequence[Tensor]) -> list[Tensor]:
    flat = tokens.flatten(0, 1)
    flat = flat / (flat.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()
    known = model.model.language_model.embed_tokens.weight
    return [flat @ known[group].T for group in words]


def _soften(model: Any, tokens: Tensor) -> None:
    """Scale the tower's last layer: each layer's norm undoes it, but what layers add is heard beside it."""
    words = model.model.language_model.embed_tokens.weight
    last = model.model.visual.merger.mlp[-1]
    with torch.no_grad():
        scale = _LOUDNESS * words.pow(2).mean().sqrt() / tokens.pow(2).mean().sqrt()
        last.weight.mul_(scale)
        last.bias.mul_(scale)


def _id(tokens: Any, word: str) -> int:
    (found,) = tokens(f" {word}", add_special_tokens=False)["input_ids"]
    return int(found)


def _labels(board: Board) -> list[list[int]]:
    names = list(MOVES)
    return [
        list(range(len(CELLS))),
        [COLORS.index(color) for color in board.colors],
        [names.index(arrow) for arrow in board.arrows],
    ]
