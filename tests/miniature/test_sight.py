"""The vision tower's first lessons: what they change, and how loud it speaks after them."""

import random
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from lpt.miniature import learning, sight, student  # noqa: E402
from lpt.world.boards.board import board  # noqa: E402

BOARDS = [board(random.Random(n)) for n in range(48)]


def test_it_learns_to_see_and_speaks_twice_as_loudly_as_words(tokens: Any) -> None:
    model = student.new(tokens, 0, width=64, layers=2)
    before = {name: one.clone() for name, one in model.named_parameters()}
    told: list[tuple[int, float, float]] = []
    sight.learn(model, tokens, BOARDS, 25, lambda *now: told.append(now))
    assert [step for step, *_ in told] == [*range(1, 26)]
    assert told[-1][1] < 0.8 * told[0][1]
    assert told[-1][2] > told[0][2]
    moved = {name for name, one in model.named_parameters() if not torch.equal(one, before[name])}
    assert moved == {name for name in before if "visual" in name or "embed_tokens" in name}
    with torch.no_grad():
        said = learning.see(model, learning.patches(BOARDS, range(len(BOARDS))))
    words = model.model.language_model.embed_tokens.weight
    assert float(said.pow(2).mean().sqrt() / words.pow(2).mean().sqrt()) == pytest.approx(2, rel=0.05)


def test_a_picture_is_cut_into_its_cells() -> None:
    """Four patches are a cell; cells that are not changed have the same patches."""
    one = BOARDS[0]
    turned = "up" if one.arrows[5] != "up" else "left"
    other = one._replace(arrows=(*one.arrows[:5], turned, *one.arrows[6:]))
    first, second = learning.patches([one, other], ["grain", "grain"])
    assert [at // 4 for at in (first != second).any(-1).nonzero().flatten().tolist()] == [5] * 4
