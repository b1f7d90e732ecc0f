"""What is learnt, over chat templates and texts: no torch."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.chat import Template
from lpt.errors import UserError
from lpt.exports.safe import safe_text
from lpt.exports.turns import Choice, Renderer, Turn
from lpt.models.base import Image, Message
from lpt.train import masks
from tests.train import tiny

PICTURE = Image(key="", data=b"")
TEMPLATES = {
    "chatml": "chatml",
    "qwen": tiny.TEMPLATE,
    # It says who it is where nobody does.
    "default": "{%- if messages[0].role != 'system' %}{{ '<|im_start|>system\\nBe good.<|im_end|>\\n' }}{% endif %}"
    + tiny.TEMPLATE,
    # No newline behind the end of a turn, and a reasoning model's generation prompt.
    "opening": tiny.TEMPLATE.replace("<|im_end|>\\n", "<|im_end|>").replace(
        "{{- '<|im_start|>assistant\\n' }}", "{{- '<|im_start|>assistant\\n<think>\\n' }}"
    ),
}
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).map(safe_text)
thoughts = st.sampled_from(["", "<think> It looks blue.", "<think> A"]) | words


@cache
def tokens() -> Any:
    return tiny.tokenizer()


def tokenize(text: str) -> list[int]:
    ids: list[int] = tokens()(text, add_special_tokens=False)["input_ids"]
    return ids


IMAGE = "<|image_pad|>"


def encode(pieces: Sequence[masks.Piece], images: Sequence[int] = (3,)) -> masks.Tokens:
    return masks.encode(pieces, tokenize, image_token=tokens().convert_tokens_to_ids(IMAGE), images=images)


@pytest.fixture(scope="module", params=sorted(TEMPLATES))
def renderer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    source = TEMPLATES[request.param]
    if source == "chatml":
        return Renderer(source)
    path = tmp_path_factory.mktemp("templates") / f"{request.param}.jinja"
    path.write_text(source, encoding="utf-8")
    return Renderer(str(path))


def decode(ids: Sequence[int]) -> str:
    text: str = tokens().decode(ids)
    return text


@given(system=words, prompt=words, prefix=thoughts, target=words)
def test_the_prefix_carries_no_loss_and_all_after_it_does(renderer, system, prompt, prefix, target):
    given_, said = renderer.turn(Turn(system=system, prompt=prompt, prefix=prefix, target=target))
    target = said + renderer.ending
    made = encode(masks.example(given_, target))
    split = made.learnt.index(True)
    assert made.learnt == [False] * split + [True] * (len(made) - split)
    assert made.compared == made.learnt
    assert decode(made.ids[split:]) == target
    assert decode(made.ids[:split]).replace(IMAGE * 3, IMAGE) == given_
    image = tokens().convert_tokens_to_ids(IMAGE)
    assert [at for at, token in enumerate(made.ids) if token == image and made.learnt[at]] == []
    assert made.ids.count(image) == 3


@given(system=words, prompt=words, target=words)
def test_the_generation_prompt_is_a_prefix_of_the_training_rendering(renderer, system, prompt, target):
    """What the model is asked with, when it is used, is to the token what it was trained behind."""
    target = f"<think> {target} </think> <answer> (A) </answer>"
    given_, said = renderer.turn(Turn(system=system, prompt=prompt, prefix="", target=target))
    turns = [Message("system", system)] if system else []
    asked = renderer._template.render([*turns, Message("user", prompt, (PICTURE,))]).text
    if asked.rstrip().endswith("<think>"):  # the template opens the thought itself: the words do not again
        asked = asked.rstrip().removesuffix("<think>")
    prompt_ids = encode([masks.Piece(asked, learnt=False, compared=False)]).ids
    made = encode(masks.example(given_, said + renderer.ending))
    assert made.ids[: len(prompt_ids)] == prompt_ids
    assert made.learnt[: len(prompt_ids)] == [False] * len(prompt_ids)
    assert masks.answers(said) == 1


@given(prompt=words, shared=thoughts, chosen=words, rejected=words, compare=st.booleans())
def test_the_sides_of_a_pair_share_prompt_and_images_and_no_sft_term_teaches_what_they_share(
    renderer, prompt, shared, chosen, rejected, compare
):
    choice = Choice(system="", prompt=prompt, shared=shared, chosen=f"{chosen}!", rejected=f"{rejected}?")
    try:
        given_, one, two = renderer.choice(choice, give_shared=False)
    except UserError:  # one side opens a thought and the other does not, in a template that opens it: refused
        return
    sides = [
        encode(
            masks.side(given_, shared, text[len(shared) :] + renderer.ending, chosen=right, compare_shared=compare)
        )
        for text, right in ((one, True), (two, False))
    ]
    same = len(encode([masks.Piece(given_, learnt=False, compared=False)]))
    both = same + len(tokenize(shared) if shared else [])
    assert sides[0].ids[:both] == sides[1].ids[:both]
    for side, right in zip(sides, (True, False), strict=True):
        assert not any(side.learnt[:both])
        assert not any(side.compared[:same])
        assert side.compared[same:both] == [compare] * (both - same)
        assert all(side.compared[both:])
        assert side.learnt[both:] == [right] * (len(side) - both)


def test_marks_and_images_must_be_as_many():
    piece = masks.Piece(f"a{IMAGE}b", learnt=False, compared=False)
    with pytest.raises(UserError, match="another model"):
        encode([piece], images=[])
    with pytest.raises(UserError, match="another model"):
        encode([piece], images=[2, 3])
    with pytest.raises(UserError, match="cannot hold an image"):
        encode(masks.example("a", f"{IMAGE}b"))
    assert len(encode([piece, piece], images=[2, 3])) == 2 + 5 + 2


def test_a_tokenizer_that_puts_a_space_before_each_piece_is_found_out():
    assert masks.apart(tokenize, decode)
    assert not masks.apart(lambda text: tokenize(" " + text), decode)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("<think> a </think> <answer> (A) </answer>", 1),
        ("no", 0),
        ("<answer> (A)", 0),
        ("<answer> a </answer> <answer> b </answer>", 2),
        ("<answer> a </answer> <answer>", 0),
    ],
)
def test_answers_are_counted_whole(text: str, number: int):
    assert masks.answers(text) == number


def test_the_template_of_the_tiny_model_is_one_that_keeps_words():
    assert Template(tiny.TEMPLATE, "tiny").ending([Message("user", "a", (PICTURE,))]) == "<|im_end|>\n"
