"""Several runs into one: what both have counts once, and the order in which they are named changes nothing."""

import subprocess
import sys
from itertools import permutations
from pathlib import Path

import polars as pl
import pytest

from lpt.curate.compose import compose
from lpt.curate.funnel import check, funnel
from lpt.curate.merge import merge
from lpt.errors import Refused, RunError
from lpt.models.base import Reply, Request
from lpt.models.recorded import Recorded
from lpt.pipeline import synthesize
from lpt.recipe import Recipe
from lpt.records import Caption, Drop, split_of
from lpt.settings import CaptionSettings
from lpt.store.run import Run
from lpt.store.tables import TABLES, write_table
from tests.conftest import Sim, small_recipe
from tests.test_pipeline import tables

MADE = ("captions", "questions", "thoughts", "long_thoughts")


def ids(run: Run, name: str) -> set[str]:
    return set(run.table(name).select("id").collect()["id"])


@pytest.fixture
def runs(sim: Sim, tmp_path: Path) -> list[Run]:
    """Scenes 1-2, scenes 1-3 with one more sample, and scenes of another seed."""
    return [
        synthesize(small_recipe(sim.url, scenes=2), tmp_path / "one"),
        synthesize(small_recipe(sim.url, "think.samples=3", scenes=3), tmp_path / "two"),
        synthesize(small_recipe(sim.url, "seed=5", "captions.style='plain'", scenes=2), tmp_path / "three"),
    ]


def test_a_merged_run_holds_every_record_once_and_composes(runs: list[Run], tmp_path: Path):
    merged = merge([run.path for run in runs], tmp_path / "merged")
    compose(merged.run)
    check(funnel(merged.run))
    for name in MADE:
        table = merged.run.table(name).collect()
        assert table["id"].is_unique().all()
        assert set(table["id"]) == set().union(*(ids(run, name) for run in runs)), name
        assert table["image"].is_sorted(), name
    assert merged.run.table("captions").collect().height == 5
    assert merged.run.table("sft").collect().height > 0
    assert merged.run.table("preferences").collect().height > 0
    said = " ".join(merged.remarks)
    assert "think.samples is 3 and 2" in said
    assert "drawn anew for all, from seed 0" in said
    assert "in more than one run, and counted once: 2 captions" in said


def test_the_order_of_the_runs_makes_no_difference(runs: list[Run], tmp_path: Path):
    made = []
    for number, order in enumerate(permutations(run.path for run in runs)):
        merged = merge(order, tmp_path / f"merged{number}")
        compose(merged.run)
        made.append((tables(merged.run), merged.remarks, (merged.run.path / "recipe.toml").read_text()))
    assert all(other == made[0] for other in made[1:])


def test_a_run_with_itself_or_with_a_part_of_it_is_that_run(runs: list[Run], sim: Sim, tmp_path: Path):
    alone = merge([runs[1].path], tmp_path / "alone").run
    part = synthesize(small_recipe(sim.url, "think.samples=3", scenes=3), tmp_path / "part", limit=2)
    for number, also in enumerate((runs[1], part)):
        both = merge([runs[1].path, also.path], tmp_path / f"both{number}").run
        assert tables(both) == tables(alone)
    for name in (*MADE, "drops"):
        assert ids(alone, name) == ids(runs[1], name)


def test_splits_agree_by_image_and_come_from_one_seed(runs: list[Run], tmp_path: Path):
    for seed in (None, 11):
        run = merge([run.path for run in runs], tmp_path / f"merged{seed}", seed=seed).run
        compose(run)
        assert run.recipe.seed == (seed or 0)
        for name in (*MADE, "sft", "preferences"):
            for image, split in run.table(name).select("image", "split").collect().iter_rows():
                assert split == split_of(image, run.recipe.seed, 0.3), name


def test_images_are_brought_along_and_are_what_they_were(runs: list[Run], tmp_path: Path):
    merged = merge([run.path for run in runs], tmp_path / "merged").run
    assert merged.images == tmp_path / "merged/images"
    theirs = {c.image: (run.images / c.path).read_bytes() for run in runs for c in run.records("captions", Caption)}
    ours = {c.image: (merged.images / c.path).read_bytes() for c in merged.records("captions", Caption)}
    assert ours == theirs
    assert len(list(merged.images.iterdir())) == len(ours)


def test_an_image_that_is_gone_from_one_run_comes_from_the_other_and_one_gone_from_both_is_told(
    runs: list[Run], tmp_path: Path
):
    first = next(iter(runs[0].records("captions", Caption)))
    (runs[1].images / first.path).unlink()
    merged = merge([run.path for run in runs], tmp_path / "merged")
    assert not any("no file" in remark for remark in merged.remarks)
    (runs[0].images / first.path).unlink()
    merged = merge([run.path for run in runs], tmp_path / "again")
    assert any(remark.startswith("1 images have no file") for remark in merged.remarks)


def small(path: Path, source: str, rows: int, image: str = "x.jpg") -> Run:
    """A run whose source had so many bad lines."""
    run = Run.create(path, Recipe(captions=CaptionSettings(source="jsonl", path=source)))
    kind = {"image": "00", "path": image, "text": "A.", "source": "jsonl", "source_id": "1", "seed": 0}
    write_table(run.table_path("captions"), Caption, [Caption.make(**kind, validation=0)])  # type: ignore[arg-type]
    write_table(
        run.table_path("drops"),
        Drop,
        [Drop.make("captions", f"line {i}", "", "malformed-json") for i in range(rows)],
    )
    return run


def test_bad_lines_of_one_source_count_once_and_those_of_two_sources_twice(tmp_path: Path):
    one, same = small(tmp_path / "1", "/a.jsonl", 3), small(tmp_path / "2", "/a.jsonl", 3)
    other = small(tmp_path / "3", "/b.jsonl", 2)
    assert merge([one.path, same.path], tmp_path / "a").run.table("drops").collect().height == 3
    drops = merge([one.path, other.path], tmp_path / "b").run.table("drops").collect()
    assert drops.height == 5
    assert drops["id"].is_unique().all()
    turned = merge([other.path, one.path], tmp_path / "c").run.table("drops").collect()
    assert turned.equals(drops)


@pytest.mark.parametrize("path", ["../secret.jpg", "/etc/hostname", "link.jpg"])
def test_no_image_is_brought_from_outside_of_a_runs_images(tmp_path: Path, path: str):
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    run = small(tmp_path / "run", str(folder), 0, image=path)
    merged = merge([run.path], tmp_path / "merged")
    assert not merged.run.images.exists()
    assert any("no file" in remark for remark in merged.remarks)


def test_what_cannot_be_merged_says_so_and_harms_nothing(runs: list[Run], tmp_path: Path):
    before = tables(runs[0])
    with pytest.raises(RunError, match="one of the runs to be merged"):
        merge([run.path for run in runs], runs[0].path)
    with pytest.raises(RunError, match="a run of its own"):
        merge([runs[1].path], runs[0].path)
    with pytest.raises(RunError, match=r"is not a run|does not exist"):
        merge([runs[0].path, tmp_path / "nowhere"], tmp_path / "merged")
    Run.create(tmp_path / "bare", Recipe())
    with pytest.raises(RunError, match="has no tables yet"):
        merge([runs[0].path, tmp_path / "bare"], tmp_path / "merged")
    Run.create(tmp_path / "sets", Recipe(captions=CaptionSettings(source="sharegpt")))
    with pytest.raises(RunError, match="imported sets and no thoughts"):
        merge([runs[0].path, tmp_path / "sets"], tmp_path / "merged")
    assert tables(runs[0]) == before
    assert not (tmp_path / "merged").exists()


def test_a_header_that_differs_is_told_without_what_it_says(tmp_path: Path):
    runs = []
    for number, key in enumerate(("s3cret", "hush")):
        text = f'[models.m]\nmodel = "m"\nurl = "u"\nheaders = {{ X-Key = "{key}" }}\n[captions]\nsource = "jsonl"'
        run = small(tmp_path / key, "/a.jsonl", number)
        runs.append(Run.create(run.path, Recipe.parse(text)))
    remarks = merge([run.path for run in runs], tmp_path / "merged").remarks
    assert "the recipes differ: models.m.headers.X-Key" in remarks
    assert not any("s3cret" in remark or "hush" in remark for remark in remarks)


def lpt(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lpt", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_the_command_merges_and_composes_and_does_so_again(runs: list[Run], tmp_path: Path):
    paths = [run.path for run in runs]
    done = lpt("compose", *paths, "--out", tmp_path / "merged")
    assert done.returncode == 0, done.stderr
    assert "counted once" in done.stderr
    first = tables(Run.open(tmp_path / "merged"))
    assert set(first) >= {"sft", "preferences"}
    assert lpt("compose", *reversed(paths), "--out", tmp_path / "merged").returncode == 0
    assert tables(Run.open(tmp_path / "merged")) == first
    assert lpt("compose", tmp_path / "merged").returncode == 0
    assert tables(Run.open(tmp_path / "merged")) == first
    alone = lpt("compose", *paths)
    assert alone.returncode == 2
    assert "--out MERGED" in alone.stderr
    assert set(TABLES) >= set(first)
    assert pl.read_parquet(tmp_path / "merged/tables/sft.parquet").height > 0


def fails(monkeypatch: pytest.MonkeyPatch, kind: str, stage: str, nth: int) -> None:
    """Every so-manieth call of a stage finds nobody."""
    whole, count = Recorded.ask, iter(range(10**6))

    async def ask(self: Recorded, request: Request) -> Reply:
        if request.stage == stage and next(count) % nth == 0:
            raise Refused("no", kind=kind)
        return await whole(self, request)

    monkeypatch.setattr(Recorded, "ask", ask)


def failed(run: Run) -> int:
    return run.table("drops").filter(pl.col("reason") == "call-failed").collect().height


@pytest.mark.parametrize(
    ("stage", "table"), [("ask", "questions"), ("think", "thoughts"), ("think_harder", "long_thoughts")]
)
def test_a_sample_that_one_run_has_is_no_drop_because_another_failed_to_get_it(
    sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, table: str
) -> None:
    recipe = small_recipe(sim.url, "budget.mode=exhaustive", scenes=2)
    whole = synthesize(recipe, tmp_path / "whole")
    fails(monkeypatch, "http-400", stage, 2)
    lacking = synthesize(recipe, tmp_path / "lacking")
    monkeypatch.undo()
    assert failed(lacking) > 0
    assert lacking.table(table).collect().height < whole.table(table).collect().height
    merged = merge([lacking.path, whole.path], tmp_path / "merged").run
    assert failed(merged) == 0
    check(funnel(merged))


def test_a_sample_that_failed_in_two_runs_is_one_drop(
    sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    for kind in ("http-400", "timeout"):
        fails(monkeypatch, kind, "think", 1)
        runs.append(synthesize(small_recipe(sim.url, "budget.mode=exhaustive", scenes=1), tmp_path / kind))
        monkeypatch.undo()
    merged = merge([run.path for run in runs], tmp_path / "merged").run
    assert failed(merged) == failed(runs[0]) == failed(runs[1]) > 0
    check(funnel(merged))
