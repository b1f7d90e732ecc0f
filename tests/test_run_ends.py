"""How a run begins and ends when something is wrong: nothing half-made, nothing lost, and it is said."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from lpt.errors import Denied, RunError, SourceError
from lpt.models.base import Reply, Request
from lpt.models.recorded import Recorded
from lpt.pipeline import State, synthesize
from lpt.recipe import Recipe
from lpt.store.run import Run
from tests.conftest import Sim, small_recipe
from tests.test_pipeline import tables


def lpt(*words: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "lpt", *map(str, words)]
    return subprocess.run(command, check=False, capture_output=True, text=True, encoding="utf-8")


def of_folder(url: str, folder: Path, *overrides: str) -> Recipe:
    return small_recipe(url, "captions.source=folder", f"captions.path={folder}", "captions.count=9", *overrides)


def test_a_source_that_is_not_there_leaves_nothing_behind(tmp_path: Path) -> None:
    recipe = of_folder("http://127.0.0.1:9/v1", tmp_path / "picturse")
    with pytest.raises(SourceError, match="picturse"):
        synthesize(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "made").mkdir()
    with pytest.raises(SourceError):
        synthesize(recipe, tmp_path / "made")
    assert list((tmp_path / "made").iterdir()) == [], "the folder itself was there before"


def test_a_run_that_was_there_stays_when_the_next_source_is_not(sim: Sim, tmp_path: Path) -> None:
    run = synthesize(small_recipe(sim.url, scenes=1), tmp_path / "run", until="ask")
    before = tables(run)
    with pytest.raises(SourceError):
        synthesize(of_folder(sim.url, tmp_path / "picturse"), run.path, until="ask")
    assert tables(run) == before
    assert run.ledger_path.exists()


def let_think(monkeypatch: pytest.MonkeyPatch, *images: str) -> None:
    """The student's key is good for these images, and for no other."""
    whole = Recorded.ask

    async def ask(self: Recorded, request: Request) -> Reply:
        if request.stage == "think" and request.affinity not in images:
            raise Denied("the key has run out", kind="http-401")
        return await whole(self, request)

    monkeypatch.setattr(Recorded, "ask", ask)


def test_when_a_model_fails_for_good_the_tables_hold_what_had_arrived(
    sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one = small_recipe(sim.url, "run.images_in_flight=1", scenes=3)
    whole = synthesize(one_by_one, tmp_path / "whole", until="think")
    first = next(whole.captions()).image
    let_think(monkeypatch, first)
    with pytest.raises(Denied, match="the key has run out"):
        synthesize(one_by_one, tmp_path / "run", until="think")
    run = Run.open(tmp_path / "run")
    assert State.of_run(run) == State(complete=False, images=1, of=3, until="think")
    for name in ("questions", "thoughts"):
        all_of_it = whole.table(name).collect()
        assert run.table(name).collect().equals(all_of_it.filter(all_of_it["image"] == first)), name
    monkeypatch.undo()
    assert tables(synthesize(one_by_one, tmp_path / "run", until="think")) == tables(whole)


def test_when_nothing_had_arrived_older_tables_stay(
    sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = synthesize(small_recipe(sim.url, scenes=1), tmp_path / "run", until="think")
    before = tables(run)
    let_think(monkeypatch)
    with pytest.raises(Denied):
        synthesize(small_recipe(sim.url, "seed=4", "think.samples=9", scenes=1), tmp_path / "run", until="think")
    kept = tables(run)
    assert {name: kept[name] for name in ("questions", "thoughts")} == {
        name: before[name] for name in ("questions", "thoughts")
    }


def test_a_damaged_state_is_the_users_to_know(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", Recipe())
    for torn in (b"{", b'{"complete": "yes"}', b"\xff\xfe"):
        (run.path / "state.json").write_bytes(torn)
        with pytest.raises(RunError, match=r"state\.json cannot be read .* writes it anew"):
            State.of_run(run)


def test_the_command_says_what_differs_and_names_what_was_not_taken_in(sim: Sim, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("one", "two"):
        (pictures / f"{name}.txt").write_text("A red sphere is left of a blue cube.")
    Image.new("RGB", (64, 48), "red").save(pictures / "one.png")
    (pictures / "two.png").write_bytes(b"no picture")
    file = tmp_path / "recipe.toml"
    file.write_text(of_folder(sim.url, pictures).toml())

    done = lpt("run", file, "--out", tmp_path / "run", "--until", "ask")
    assert done.returncode == 0, done.stderr
    assert "another recipe" not in done.stderr
    assert "1 not taken in (" in done.stderr
    assert "two.png" in done.stderr
    assert f"lpt status {tmp_path}/run --drops" in done.stderr

    assert "another recipe" not in lpt("run", file, "--out", tmp_path / "run", "--until", "ask").stderr
    again = lpt("run", file, "--out", tmp_path / "run", "--until", "ask", "--set", "ask.questions=3")
    assert again.returncode == 0, again.stderr
    assert "was last run with another recipe; what was answered is kept:\n  ask.questions: 8 → 3\n" in again.stderr

    listed = lpt("status", tmp_path / "run", "--drops", "--stage", "captions")
    assert "two.png" in listed.stdout
    table = lpt("status", tmp_path / "run")
    for text in (listed.stdout, table.stdout):
        assert text
        assert all(line == line.rstrip() for line in text.splitlines())
    assert '"rest":0' in lpt("status", tmp_path / "run", "--drops", "--json", "--stage", "captions").stdout
    wrong = lpt("status", tmp_path / "run", "--stage", "captions")
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_a_mistyped_source_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(of_folder("http://127.0.0.1:9/v1", tmp_path / "picturse").toml())
    done = lpt("run", tmp_path / "recipe.toml", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert done.stderr.startswith("lpt: captions.path: there is no")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()
