"""A run folder is made once, taken over after, and never made out of somebody else's."""

from pathlib import Path

import polars as pl
import pytest

from lpt.errors import RecipeError, RunError, StoreError
from lpt.recipe import Recipe
from lpt.records import Caption, Drop
from lpt.store.run import Run
from lpt.store.tables import TABLES, write_table
from tests.scripted import caption

RECIPE = Recipe.parse('seed = 3\n[models."a.b"]\nmodel = "m"\nurl = "u"')


def test_a_run_that_was_made_can_be_opened(tmp_path: Path) -> None:
    made = Run.create(tmp_path / "deep" / "run", RECIPE)
    opened = Run.open(made.path)
    assert opened.recipe == made.recipe == RECIPE
    assert {entry.name for entry in made.path.iterdir()} == {"recipe.toml", "tables", "logs", "exports"}
    assert opened.ledger_path == made.path / "ledger.sqlite"


def test_a_run_is_taken_over_with_the_new_recipe_and_what_it_holds_stays(tmp_path: Path) -> None:
    run = Run.create(tmp_path, RECIPE)
    write_table(run.table_path("captions"), Caption, [caption()])
    again = Run.create(tmp_path, Recipe(seed=4))
    assert Run.open(tmp_path).recipe.seed == 4
    assert list(again.records("captions", Caption)) == [caption()]


def test_what_a_killed_process_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".recipe.toml.part").write_text("half a rec")
    Run.create(tmp_path, RECIPE)
    assert Run.open(tmp_path).recipe == RECIPE


def test_what_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(RunError, match="not empty and not a run"):
        Run.create(tmp_path, RECIPE)
    with pytest.raises(RunError, match="is a file; a run is a folder"):
        Run.create(tmp_path / "holiday.jpg", RECIPE)
    with pytest.raises(RunError, match="cannot be used"):
        Run.create(tmp_path / "holiday.jpg" / "run", RECIPE)
    assert [entry.name for entry in tmp_path.iterdir()] == ["holiday.jpg"]


def test_opening_what_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none does not exist\. `lpt run RECIPE --out .*none` makes one"):
        Run.open(tmp_path / "none")
    with pytest.raises(RunError, match=r"is not a run: it has no recipe\.toml"):
        Run.open(tmp_path)
    (tmp_path / "recipe.toml").write_text("sed = 1")
    with pytest.raises(RecipeError, match="did you mean `seed`"):
        Run.open(tmp_path)


@pytest.mark.parametrize(
    ("captions", "images"),
    [
        ("", "RUN/images"),
        ('source = "docci"\npath = "data"', "data/images"),
        ('source = "docci"\npath = "data/d.jsonlines"', "data/images"),
        ('source = "docci"\npath = "data"\nimages = "pics"', "pics"),
        ('source = "folder"\npath = "data"', "data"),
        ('source = "jsonl"\npath = "data/d.jsonlines"', "data"),
    ],
)
def test_where_images_are(tmp_path: Path, captions: str, images: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "d.jsonlines").touch()
    recipe = Recipe.parse(f"[captions]\n{captions}").located(tmp_path)
    run = Run.create(tmp_path / "RUN", recipe)
    assert run.images == tmp_path / images


def test_a_shared_ledger_is_where_the_recipe_says(tmp_path: Path) -> None:
    recipe = Recipe.parse('ledger = "shared/l.sqlite"').located(tmp_path)
    Run.create(tmp_path / "RUN", recipe)
    assert Run.open(tmp_path / "RUN").ledger_path == tmp_path / "shared" / "l.sqlite"


def test_a_table_that_was_not_written_has_its_columns_and_no_rows(tmp_path: Path) -> None:
    run = Run.create(tmp_path, RECIPE)
    for name, kind in TABLES.items():
        assert not run.has(name)
        assert run.table(name).collect().shape == (0, len(kind.__struct_fields__))
        assert list(run.records(name, kind)) == []


def test_a_damaged_table_is_told_before_it_is_queried(tmp_path: Path) -> None:
    run = Run.create(tmp_path, RECIPE)
    run.table_path("drops").write_bytes(b"PAR1 and no more")
    with pytest.raises(StoreError, match=r"drops\.parquet cannot be read"):
        run.table("drops")


def test_failed_calls_are_counted(tmp_path: Path) -> None:
    run = Run.create(tmp_path, RECIPE)
    assert run.failed_calls() == 0
    drops = [Drop.make("think", "q", "i", "call-failed", "timeout", index=i) for i in range(3)]
    write_table(run.table_path("drops"), Drop, [*drops, Drop.make("think", "t", "i", "unparsed")])
    assert run.failed_calls() == 3
    assert run.has("drops")
    assert run.table("drops").select(pl.len()).collect().item() == 4
