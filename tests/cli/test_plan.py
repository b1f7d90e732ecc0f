"""`lpt plan`: a pilot, and what it says of the whole."""

import json
from pathlib import Path

import polars as pl
import pytest

from lpt.errors import SourceError
from lpt.look.plan import Plan, count_rows, plan
from lpt.pipeline import synthesize
from lpt.recipe import Recipe
from lpt.store.ledger import Ledger
from tests.captions.files import put
from tests.cli.test_looking import lpt
from tests.conftest import Sim, small_recipe

PRICES = ("models.asker.price.input=1.0", "models.asker.price.output=2.0", "models.reasoner.price.output=3.0")


def piloted(recipe: Recipe, folder: Path, pilot: int, rows: int) -> Plan:
    return plan(synthesize(recipe, folder, limit=pilot), rows, pilot, exact=True)


def test_the_estimate_is_near_what_the_whole_run_then_takes(sim: Sim, tmp_path: Path):
    recipe = small_recipe(sim.url, *PRICES, "seed=2", scenes=16)
    made = piloted(recipe, tmp_path / "pilot", 5, 16)
    whole = plan(synthesize(recipe, tmp_path / "whole"), 16, 16, exact=True)
    assert made.low
    assert made.high
    for name in ("calls", "prompt_tokens", "completion_tokens", "money"):
        true = getattr(whole.pilot, name)
        assert getattr(made.low, name) <= true <= getattr(made.high, name), name
        assert getattr(made.total, name) == pytest.approx(true, rel=0.25), name
        assert getattr(made.pilot, name) <= getattr(made.low, name)
    assert whole.low == whole.total == whole.high, "nothing is left to guess"


def test_the_pilot_counts_what_the_ledger_counts(sim: Sim, tmp_path: Path):
    recipe = small_recipe(sim.url, *PRICES, scenes=2)
    made = piloted(recipe, tmp_path / "run", 2, 20)
    with Ledger(tmp_path / "run" / "ledger.sqlite") as ledger:
        spent = ledger.spent()
    assert made.pilot.calls == sum(part.calls for part in spent)
    assert made.total.completion_tokens == pytest.approx(10 * sum(part.completion_tokens for part in spent))
    asker = next(part for part in spent if part.model == "asker")
    reasoner = next(part for part in spent if part.model == "reasoner")
    price = asker.prompt_tokens + 2 * asker.completion_tokens + 3 * reasoner.completion_tokens
    assert made.pilot.money == pytest.approx(price / 1e6)


def test_one_image_gives_no_range(sim: Sim, tmp_path: Path):
    made = piloted(small_recipe(sim.url), tmp_path / "run", 1, 30)
    assert made.low is None
    assert made.high is None
    assert made.total.calls == 30 * made.pilot.calls


def test_a_pilot_is_the_beginning_of_the_later_run(start_sim, tmp_path: Path):
    planned, alone = start_sim(), start_sim()
    for server in (planned, alone):
        (tmp_path / f"{server is planned}.toml").write_text(small_recipe(server.url, scenes=4).toml())
    done = lpt("plan", tmp_path / "True.toml", "--out", tmp_path / "run", "--images", "2")
    assert done.returncode == 0, done.stderr
    assert "For 4 rows, from a pilot of 2" in done.stdout
    assert "lpt run" in done.stderr
    asked = len(planned.requests())
    assert asked > 0
    assert lpt("run", tmp_path / "True.toml", "--out", tmp_path / "run").returncode == 0
    assert lpt("run", tmp_path / "False.toml", "--out", tmp_path / "other").returncode == 0
    assert len(planned.requests()) == len(alone.requests()), "nothing is asked twice"

    again = lpt("plan", tmp_path / "True.toml", "--out", tmp_path / "run", "--images", "2")
    assert again.returncode == 2
    assert "holds a run of 4 images" in again.stderr
    assert len(pl.read_parquet(tmp_path / "run" / "tables" / "captions.parquet")) == 4


def test_planning_again_asks_nothing_and_says_what_it_cannot_know(sim: Sim, tmp_path: Path):
    path = tmp_path / "recipe.toml"
    path.write_text(small_recipe(sim.url).toml())
    first = json.loads(lpt("plan", path, "--out", tmp_path / "run", "--images", "2", "--of", "50", "--json").stdout)
    asked = len(sim.requests())
    second = json.loads(
        lpt("plan", path, "--out", tmp_path / "run", "--images", "2", "--of", "50", "--json").stdout
    )
    assert len(sim.requests()) == asked
    assert first["rows"] == second["rows"] == 50
    assert first["exact"] is True
    assert second["exact"] is False
    assert second["seconds_pilot"] is None
    assert second["total"]["calls"] == pytest.approx(first["total"]["calls"], rel=0.1)


def test_without_out_nothing_stays(sim: Sim, tmp_path: Path):
    path = tmp_path / "recipe.toml"
    path.write_text(small_recipe(sim.url).toml())
    done = lpt("plan", path, "--images", "1", env={"TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "One image tells nothing" in done.stdout
    assert "no prices" in done.stdout
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("lpt-plan")] == []


def counted(tmp_path: Path, *overrides: str) -> int | None:
    return count_rows(small_recipe("http://x/v1", *overrides), tmp_path)


def test_rows_are_counted_without_decoding(tmp_path: Path):
    lines = "".join(f'{{"image": "nowhere{i}.png", "caption": "c"}}\n' for i in range(7))
    (tmp_path / "list.jsonl").write_text(lines)
    (tmp_path / "list.csv").write_text("image,caption\n" + "a.png,c\n" * 5)
    pl.DataFrame({"image": [b"no image"] * 6, "caption": ["c"] * 6}).write_parquet(tmp_path / "a.parquet")
    (tmp_path / "shards").mkdir()
    for name in "ab":
        pl.DataFrame({"image": [b"x"] * 3, "caption": ["c"] * 3}).write_parquet(
            tmp_path / "shards" / f"{name}.parquet"
        )
    (tmp_path / "folder").mkdir()
    put(tmp_path / "folder", "a.png", b"no image")

    def of(source: str, path: str, *more: str) -> int | None:
        place = tmp_path / path
        return counted(tmp_path, f"captions.source={source}", f'captions.path="{place}"', *more)

    recipe = ("captions.count=3",)
    assert counted(tmp_path) == 3
    big = "captions.count=1000"
    assert of("jsonl", "list.jsonl", big) == 7
    assert of("csv", "list.csv", big) == 5
    assert of("parquet", "a.parquet", big) == 6
    assert of("parquet", "shards", big) == 6
    assert of("folder", "folder", big) == 1
    assert of("jsonl", "list.jsonl", *recipe) == 3
    with pytest.raises(SourceError):
        of("jsonl", "gone.jsonl", big)


def test_a_source_that_cannot_be_counted_wants_a_number(tmp_path: Path):
    path = tmp_path / "recipe.toml"
    path.write_text(small_recipe("http://x/v1", "captions.source=hub", "captions.path=a/b").toml())
    done = lpt("plan", path)
    assert done.returncode == 2
    assert "--of N" in done.stderr
