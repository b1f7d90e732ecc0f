"""Sets without rows: there is nothing to export, and no file is left that speaks of what is not there."""

from pathlib import Path
from typing import Any

import pytest

from lpt.errors import UserError
from lpt.exports import EXPORTERS, export
from lpt.records import Drop, Question
from lpt.store.tables import write_table
from tests.exports.runs import caption, example, image_hash, make_run, pair, picture

A = image_hash(0)
OF_SETS = sorted(set(EXPORTERS) - {"verl"})


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_a_run_whose_sets_are_empty_has_nothing_to_export(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path / "run", [], captions=[caption(A)])
    write_table(run.table_path("questions"), Question, [])
    write_table(run.table_path("drops"), Drop, [])
    picture(run, A)
    with pytest.raises(UserError, match=f"there is nothing to export: .*`lpt status {run.path}` says where"):
        export(run, name)
    left = sorted(path.name for path in (run.path / "exports").rglob("*") if path.is_file())
    assert left == []


@pytest.mark.parametrize("name", OF_SETS)
def test_one_empty_set_of_two_is_fine_and_is_said(tmp_path: Path, name: str) -> None:
    for given, empty, called in (
        (([example(A)], []), "preferences", "preference set"),
        (([], [pair(A)]), "sft", "SFT set"),
    ):
        run = make_run(tmp_path / empty, *given)
        exported = export(run, name)
        assert sum(exported.counts.values()) == 1
        assert exported.empty == (empty,)
        assert f"the run's {called} is empty: nothing was written of it" in exported.remarks()
    both = export(make_run(tmp_path / "both", [example(A)], [pair(A)]), name)
    assert both.empty == ()


@pytest.mark.parametrize("name", OF_SETS)
def test_rows_of_which_not_one_can_be_written_are_no_export(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path / "run", [], [pair(A, rejected="Something else.")])
    with pytest.raises(UserError, match=r"not one row of .* could be written. 1 rows: the two sides of the pair"):
        export(run, name)
    assert not (run.path / "exports" / name / "README.md").exists()


@pytest.mark.parametrize("name", ["llamafactory", "swift", "trl"])
@pytest.mark.parametrize("dialect", [{}, {"prefix": "column"}])
def test_where_the_shared_thought_goes_is_one_of_two(tmp_path: Path, name: str, dialect: dict[str, str]) -> None:
    run = make_run(tmp_path / "run", [example(A)])
    options: dict[str, Any] = dict(dialect) if name == "llamafactory" else {}
    with pytest.raises(UserError, match='goes to the "prompt" or to the "response", not to "both"'):
        export(run, name, shared="both", **options)
