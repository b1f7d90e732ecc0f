"""What figures say of students that are made up: one that is always right, one that repeats, one that sees red."""

import random
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from lpt.miniature.figures import Figures, figures  # noqa: E402
from lpt.miniature.learning import Encoder  # noqa: E402
from lpt.world.boards.board import COLORS, board  # noqa: E402

BOARDS = [board(random.Random(n)) for n in range(12)]


class MadeUp:
    """A student whose states are the tokens themselves: what it says next is what `core` makes of them."""

    def __init__(self, size: int, core: Any) -> None:
        def states(*, inputs_embeds: Any, **_more: Any) -> Any:
            return SimpleNamespace(last_hidden_state=core(inputs_embeds))

        states.embed_tokens = lambda ids: torch.nn.functional.one_hot(ids, size).float()  # type: ignore[attr-defined]
        self.model = SimpleNamespace(language_model=states)
        self.lm_head = lambda states: states
        self.eval = lambda: self


def of(tokens: Any, core: Any) -> Figures:
    size = len(tokens)
    return figures(MadeUp(size, core), Encoder(tokens), BOARDS, torch.zeros(len(BOARDS), 16, size))


def knows(states: Any) -> Any:
    """The next token, since it sees what is to come."""
    return states.roll(-1, 1)


def test_who_knows_all_is_right_in_all(tokens: Any) -> None:
    found = of(tokens, knows)
    assert {found.captions, found.walks, found.steps, found.glance, found.ceiling} == {1.0}
    assert set(found.by.values()) == {1.0}
    assert {"cell", "when", "count", "follow-1"} <= set(found.by)


def test_who_repeats_what_it_is_given_is_right_in_nothing(tokens: Any) -> None:
    """The right words, one place too late: what a student does before it has learnt anything."""
    found = of(tokens, lambda states: states)
    assert (found.captions, found.walks, found.steps, found.glance) == (0, 0, 0, 0)
    assert found.ceiling < 0.1  # where there is no color at all, a count of none is right


def test_who_takes_all_for_red_can_still_follow_arrows_and_not_say_where_to(tokens: Any) -> None:
    inks = tokens([f" {color}" for color in COLORS])["input_ids"]
    red = inks[COLORS.index("red")][0]

    def blind(states: Any) -> Any:
        said = knows(states).clone()
        for (ink,) in inks:
            said[..., red] = torch.maximum(said[..., red], said[..., ink])
            if ink != red:
                said[..., ink] = 0
        return said

    found = of(tokens, blind)
    assert found.steps == 1.0  # no color is said there
    assert found.captions == sum(one.colors.count("red") for one in BOARDS) / (16 * len(BOARDS))
    assert found.by["cell"] < 0.5 < found.by["count"]
    assert 0 < found.ceiling < 0.5
