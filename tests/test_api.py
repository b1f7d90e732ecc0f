"""What `import lpt` offers: its names, that they are documented and typed, and that they cost nothing unused."""

import inspect
import subprocess
import sys
from typing import get_type_hints

import msgspec
import pytest

import lpt


def test_the_public_names_are_these():
    # A name that goes, or comes, is a change for users: it belongs in the changelog.
    assert set(lpt.__all__) == {
        *("Recipe", "Run", "synthesize", "verify", "compose", "merge", "Merged", "funnel", "StageCount"),
        *("export", "Exported", "grade", "Grade"),
        *("Caption", "Question", "Thought", "LongThought", "Drop", "Example", "Pair", "Judgement", "Row", "Bad"),
        *("LptError", "UserError", "RecipeError", "SourceError", "RunError", "ModelError", "StoreError"),
        "Interrupted",
    }
    assert set(lpt.__all__) <= set(dir(lpt))


@pytest.mark.parametrize("name", lpt.__all__)
def test_each_is_documented_and_typed(name: str):
    thing = getattr(lpt, name)
    assert inspect.getdoc(thing), "a docstring"
    if inspect.isfunction(thing):
        assert "return" in get_type_hints(thing)
        assert all(p.annotation is not p.empty for p in inspect.signature(thing).parameters.values())
    elif issubclass(thing, msgspec.Struct):
        assert get_type_hints(thing)


def test_the_same_object_under_its_short_and_its_long_name():
    from lpt.errors import UserError
    from lpt.pipeline import synthesize

    assert lpt.synthesize is synthesize
    assert lpt.UserError is UserError


def test_a_name_that_is_not_there_is_an_ordinary_attribute_error():
    with pytest.raises(AttributeError, match="no_such"):
        lpt.no_such  # noqa: B018


def test_importing_costs_nothing():
    code = (
        "import sys, lpt; print(sorted(m for m in sys.modules if m.split('.')[0] in ('polars', 'aiohttp', 'PIL')))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
