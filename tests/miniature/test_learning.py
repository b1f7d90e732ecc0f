"""The fast way to learn is the ordinary one: places, attention, loss and gradient are those of transformers."""

import contextlib
import copy
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from lpt.miniature import learning, lessons, student  # noqa: E402
from lpt.miniature.learning import Batch, Encoder, batch, patches, positions  # noqa: E402
from lpt.world.boards.board import Board, board  # noqa: E402

BOARDS = [board(random.Random(n)) for n in range(6)]
KINDS = ("describe", "cells", "walks", "steps", "neighbours", "ahead", "counts", "simple")


@pytest.fixture(scope="module")
def plain(tokens: Any) -> Any:
    """A student as transformers has it, with larger weights: at its first ones attention is the same everywhere."""
    model = student.new(tokens, 0, width=64, layers=2).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "visual" not in name:
                weight.mul_(4)
    return model


@pytest.fixture(scope="module")
def fast(plain: Any) -> Any:
    """The same, made fast."""
    model = copy.deepcopy(plain)
    learning.attend_fast(model)
    return model


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bfloat16: what differs then, is another sum."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())


def rows(tokens: Any, kinds: tuple[str, ...]) -> Batch:
    rng, encoder = random.Random(0), Encoder(tokens)
    put = [(at, lessons.lesson(BOARDS[at], rng, {kind: 1.0})) for at, kind in enumerate(kinds)]
    return batch(encoder.encode(put), encoder.image, tokens.pad_token_id)


def ordinary(model: Any, tokens: Any, of: Batch) -> Any:
    """The loss as transformers works it out: from pixels, with a mask for what is filled up."""
    seen = patches(BOARDS, range(len(BOARDS)))[of.boards.long()].flatten(0, 1)
    pictured = {"pixel_values": seen, "image_grid_thw": torch.tensor([[1, 8, 8]] * len(of.boards))}
    return model(
        input_ids=of.ids,
        attention_mask=(of.ids != tokens.pad_token_id).long(),
        mm_token_type_ids=(of.ids == model.config.image_token_id).long(),
        labels=of.labels,
        **(pictured if len(of.boards) else {}),
    ).loss


@given(
    texts=st.lists(st.tuples(st.booleans(), st.text("ab 1?", max_size=30)), min_size=1, max_size=5),
    fill=st.integers(0, 9),
)
def test_places_are_those_of_transformers(
    plain: Any, tokens: Any, texts: list[tuple[bool, str]], fill: int
) -> None:
    encoder = Encoder(tokens)
    made = encoder.encode([(0, lessons.Lesson(text, text[::-1], seen)) for seen, text in texts])
    longest = max(len(row.ids) for row in made) + fill
    ids = torch.tensor([row.ids + [tokens.pad_token_id] * (longest - len(row.ids)) for row in made])
    real = torch.tensor([[1] * len(row.ids) + [0] * (longest - len(row.ids)) for row in made])
    pictures = sum(seen for seen, _ in texts)
    expected, _ = plain.model.get_rope_index(
        input_ids=ids,
        mm_token_type_ids=(ids == encoder.image).int(),
        image_grid_thw=torch.tensor([[1, 8, 8]] * pictures) if pictures else None,
        attention_mask=real,
    )
    mask = real.bool().expand(3, -1, -1)
    assert torch.equal(positions(ids, encoder.image)[mask], expected[mask])


@pytest.mark.parametrize("length", [1, 7, 64])
def test_attention_is_the_fused_one_and_looks_at_nothing_that_is_to_come(length: int) -> None:
    draws = torch.Generator().manual_seed(length)
    query, key, value = (torch.randn(3, 4, length, 32, generator=draws) * 2 for _ in range(3))
    found, _ = learning._attend(torch.nn.Identity(), query, key, value, None, 32**-0.5)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    assert torch.allclose(found, expected.transpose(1, 2), atol=1e-5)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("kinds", [KINDS[:6], ("neighbours",), ("simple", "describe")])
def test_what_is_learnt_is_what_transformers_would_learn(
    plain: Any, fast: Any, tokens: Any, kinds: tuple[str, ...]
) -> None:
    """The same loss, and the same gradient of every weight of the language model."""
    of = rows(tokens, kinds)
    assert (of.ids == tokens.pad_token_id).any() or len(kinds) == 1  # rows of unlike lengths
    with torch.no_grad():
        seen = learning.see(fast, patches(BOARDS, range(len(BOARDS))))
    found = []
    for model in (plain, fast):
        quick = model is fast
        loss = learning.loss(fast, of, seen, fast.config.image_token_id) if quick else ordinary(plain, tokens, of)
        model.zero_grad()
        loss.backward()
        moved = {name: one.grad for name, one in model.named_parameters() if "visual" not in name}
        found.append((float(loss), moved))
    (expected, wanted), (lost, moved) = found
    assert lost == pytest.approx(expected, rel=1e-5)
    for name, grad in wanted.items():
        assert torch.allclose(moved[name], grad, rtol=1e-3, atol=1e-4 * float(grad.abs().max())), name


def test_in_half_precision_it_is_nearly_so(plain: Any, fast: Any, tokens: Any) -> None:
    of = rows(tokens, KINDS[:6])
    seen = learning.features(fast, BOARDS, range(len(BOARDS)))
    with torch.no_grad():
        lost = learning.loss(fast, of, seen, plain.config.image_token_id)
        assert float(lost) == pytest.approx(float(ordinary(plain, tokens, of)), rel=0.02)


def test_loss_is_on_replies_and_on_their_end_alone(tokens: Any) -> None:
    encoder, one = Encoder(tokens), lessons.describe(BOARDS[0])
    (row,) = encoder.encode([(3, one)])
    of = batch([row], encoder.image, tokens.pad_token_id)
    learnt = of.ids[0][of.labels[0] != -100]
    assert tokens.decode(learnt) == f"{one.reply}<|im_end|>"
    assert of.boards.tolist() == [3]
    assert encoder.encode([(3, lessons.neighbours(random.Random(0)))])[0].board == -1


def test_whose_picture_is_shown_makes_a_difference(fast: Any, tokens: Any) -> None:
    of = rows(tokens, ("describe", "describe"))
    seen = learning.features(fast, BOARDS, range(len(BOARDS)))
    image = fast.config.image_token_id
    with torch.no_grad():
        one, two = (learning.loss(fast, of, each, image) for each in (seen, seen.roll(1, 0)))
    assert float(one) != float(two)


def test_a_board_is_seen_the_same_alone_and_among_others(fast: Any) -> None:
    shown: list[Board] = BOARDS[:3]
    together = learning.features(fast, shown, range(3))
    for at, one in enumerate(shown):
        assert torch.allclose(together[at], learning.features(fast, [one], [at])[0], atol=0.02)
