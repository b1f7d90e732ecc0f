"""The student's words: each is a token, any text can be written, and a picture follows the words about it."""

import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("transformers")

from lpt.miniature import lessons
from lpt.world.boards import saying
from lpt.world.boards.asking import KINDS, question
from lpt.world.boards.board import CELLS, COLORS, MOVES, board
from lpt.world.boards.slips import astray
from lpt.world.boards.talk import caption

TAG = "</?(?:think|answer)>"
PIECES = re.compile(rf"{TAG}|\s(?={TAG})| ?[A-Za-z0-9]+| ?[^\sA-Za-z0-9]+|\s")
KINDS_OF_LESSON = ("describe", "neighbours", "simple", *lessons._DRILLS)


def pieces(tokens: Any, text: str) -> list[str]:
    return [tokens.decode([token]) for token in tokens(text, add_special_tokens=False)["input_ids"]]


def test_cells_colors_and_moves_are_tokens_wherever_they_stand(tokens: Any) -> None:
    for word in (*CELLS, *COLORS, *MOVES):
        assert pieces(tokens, f" {word}") == [f" {word}"]
    for cell in CELLS:  # a caption begins with one
        assert pieces(tokens, cell) == [cell]


@given(seed=st.integers(0, 2**40), kind=st.sampled_from(KINDS), place=st.integers(0, 3))
def test_whatever_is_said_about_a_board_is_said_in_words_that_are_tokens(
    tokens: Any, seed: int, kind: str, place: int
) -> None:
    rng = random.Random(seed)
    of = board(rng)
    put = question(of, kind, rng)
    end = put.options[place]
    look = saying.walk(of, put.stem) if end == put.answer else astray(of, put.stem, end, rng)
    thought = " ".join([saying.glance(put.stem, end), "Hmm,", saying.maybe(end), look])
    for before in ("", end, put.options[0]):
        text = lessons.answered(f"{thought} {saying.verdict(before, end)}.", end)
        assert pieces(tokens, text) == PIECES.findall(text)
    assert pieces(tokens, caption(of)) == PIECES.findall(caption(of))


@given(seed=st.integers(0, 2**40), kind=st.sampled_from(KINDS_OF_LESSON))
def test_so_are_the_words_of_lessons(tokens: Any, seed: int, kind: str) -> None:
    rng = random.Random(seed)
    one = lessons.lesson(board(rng), rng, {kind: 1.0})
    for text in (one.prompt, one.reply, one.system):
        assert pieces(tokens, text) == PIECES.findall(text)


@given(text=st.text())
def test_any_other_text_is_written_and_read_again(tokens: Any, text: str) -> None:
    assert tokens.decode(tokens(text, add_special_tokens=False)["input_ids"]) == text


@given(
    words=st.lists(st.sampled_from(["What?", "(A) red", "<image>"]), min_size=1, max_size=3), at=st.integers(0, 3)
)
def test_a_picture_comes_after_the_words_of_its_turn(tokens: Any, words: list[str], at: int) -> None:
    parts: list[dict[str, str]] = [{"type": "text", "text": word} for word in words]
    parts.insert(at, {"type": "image"})
    turns = [{"role": "system", "content": "Look."}, {"role": "user", "content": parts}]
    assert tokens.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) == (
        f"<|im_start|>system\nLook.<|im_end|>\n<|im_start|>user\n{''.join(words)}"
        "<|vision_start|><|image_pad|><|vision_end|><|im_end|>\n<|im_start|>assistant\n"
    )
