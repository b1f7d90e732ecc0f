"""The error tree: what stands in its docstring is what is there."""

import inspect
import re
import subprocess
import sys

import pytest

from lpt import errors
from lpt.errors import BadReply, Denied, Down, LptError, ModelError, Refused, Unavailable

ALL = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, LptError)}


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    drawn: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").split("```")[1].strip().splitlines():
        found = re.match(r"([│├└─ ]*)(\w+)", line)
        assert found
        depth = len(found[1]) // 4
        above[depth:] = [found[2]]
        if depth:
            drawn[found[2]] = above[depth - 1]
    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in ALL if kind is not LptError}


@pytest.mark.parametrize(
    ("name", "code"),
    [("RecipeError", 2), ("SourceError", 2), ("RunError", 2), ("StoreError", 4), ("Interrupted", 130)],
)
def test_exit_codes_say_at_which_boundary_it_arose(name: str, code: int) -> None:
    assert getattr(errors, name)("what happened").exit_code == code


@pytest.mark.parametrize("kind", [ModelError, Unavailable, Refused, Denied, Down, BadReply])
def test_model_errors_carry_a_kind_for_counting(kind: type[ModelError]) -> None:
    error = kind("the server said no", kind="http-400")
    assert (str(error), error.kind, error.exit_code) == ("the server said no", "http-400", 3)
    assert error.fatal == (kind in (Denied, Down))


def test_records_and_errors_import_nothing_heavy() -> None:
    code = "import sys, lpt.records, lpt.errors; print({'polars','pyarrow','aiohttp','PIL'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
