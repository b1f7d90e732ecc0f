"""What is learnt: the one place where text becomes token ids and, for each, whether it carries loss. No torch.

A row is text in pieces, cut exactly where the loss changes, and each piece is made into tokens by itself. So the
tokens of a prompt are the same whatever follows (the generation prompt is a prefix of the training rendering, and
the two sides of a pair share it), and no token lies across the border of what is learnt. Where a tokenizer would
have merged two characters across that border, it is given them apart.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from lpt.errors import UserError

Tokenize: TypeAlias = Callable[[str], Sequence[int]]
"""Text to ids: special tokens in the text become theirs, and none is added."""

_ANSWER = re.compile(r"<answer>.*?</answer>", re.DOTALL)


class Piece(NamedTuple):
    """A stretch of a row's text, and what is done with it."""

    text: str
    learnt: bool
    """Whether it carries loss: SFT's, or that of DPO's SFT term."""
    compared: bool
    """Whether it enters DPO's log-ratios."""


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """A row as tokens: three lists of one length."""

    ids: list[int]
    learnt: list[bool]
    compared: list[bool]

    def __len__(self) -> int:
        return len(self.ids)


def example(given: str, target: str) -> tuple[Piece, ...]:
    """An SFT example: what is given (prompt and prefix) carries no loss, all after it does."""
    return Piece(given, learnt=False, compared=False), Piece(target, learnt=True, compared=True)


def side(given: str, shared: str, rest: str, *, chosen: bool, compare_shared: bool) -> tuple[Piece, ...]:
    """One side of a pair; `shared` is the wrong thought that both sides begin with, which no SFT term teaches."""
    return (
        Piece(given, learnt=False, compared=False),
        Piece(shared, learnt=False, compared=compare_shared),
        Piece(rest, learnt=chosen, compared=True),
    )


def encode(pieces: Sequence[Piece], tokenize: Tokenize, *, image_token: int, images: Sequence[int]) -> Tokens:
    """Make pieces into tokens; each image's mark becomes as many image tokens as the image has.

    Args:
        pieces: the row's text.
        tokenize: the model's tokenizer.
        image_token: the id of the mark that stands for an image.
        images: how many tokens each image has, in their order.

    Raises:
        UserError: there are more or fewer marks than images, or a mark in what is learnt.
    """
    ids: list[int] = []
    learnt: list[bool] = []
    compared: list[bool] = []
    left = list(images)
    for piece in pieces:
        if not piece.text:
            continue
        found = list(tokenize(piece.text))
        marks = found.count(image_token)
        if marks and (piece.learnt or piece.compared):
            raise UserError("there is an image's mark in what is learnt: an answer cannot hold an image")
        if marks > len(left):
            raise UserError(_images(len(images), len(images) - len(left) + marks))
        if marks:
            found = list(_expanded(found, image_token, left[:marks]))
            del left[:marks]
        ids += found
        learnt += [piece.learnt] * len(found)
        compared += [piece.compared] * len(found)
    if left:
        raise UserError(_images(len(images), len(images) - len(left)))
    return Tokens(ids=ids, learnt=learnt, compared=compared)


def answers(text: str) -> int:
    """How many whole answers a text holds."""
    return len(_ANSWER.findall(text)) if text.count("<answer>") == text.count("</answer>") else 0


def apart(tokenize: Tokenize, decode: Callable[[Sequence[int]], str]) -> bool:
    """Whether text that is made into tokens in pieces says the same: some tokenizers put a space before each."""
    first, second = "<think> It looks blue.", "\nWait, it is red. </think>"
    return decode([*tokenize(first), *tokenize(second)]) == first + second


def _expanded(ids: Sequence[int], image_token: int, counts: Sequence[int]) -> Iterator[int]:
    left = iter(counts)
    for token in ids:
        yield from [token] * (next(left) if token == image_token else 1)


def _images(have: int, marks: int) -> str:
    return (
        f"a row has {have} image{'' if have == 1 else 's'} and {marks} mark{'' if marks == 1 else 's'} for one: "
        "was it rendered by the chat template of another model? `lpt train` on the run itself renders it anew"
    )
