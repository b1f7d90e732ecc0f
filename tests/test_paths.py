"""A `~name` that leads nowhere is told wherever a person may write a path."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lpt.captions.base import at
from lpt.chat import Template
from lpt.errors import RecipeError, SourceError, UserError
from lpt.paths import expanded
from lpt.plugins import load_object
from lpt.recipe import Recipe
from lpt.starter import in_recipe

NOBODY = "~nobody-at-all/x"


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (lambda: Recipe.parse(f'ledger = "{NOBODY}"').located(Path("/")), RecipeError),
        (lambda: at(Path("/"), NOBODY), SourceError),
        (lambda: load_object(f"{NOBODY}.py:f"), UserError),
        (lambda: Template.load(NOBODY), UserError),
        (lambda: in_recipe(NOBODY, Path("recipe.toml")), UserError),
    ],
)
def test_the_home_of_nobody_is_told(use: Callable[[], object], error: type[UserError]) -> None:
    with pytest.raises(error, match=r"~nobody-at-all/x.*: there is no user of that name"):
        use()


def test_ones_own_home_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/pictures") == Path("/home/me/pictures")
    assert expanded("pictures/~x") == Path("pictures/~x")
