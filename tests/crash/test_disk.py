"""Disks that are full, read-only or damaged: it is said, and the same command goes on when they are not."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lpt.curate.compose import compose
from lpt.pipeline import synthesize
from lpt.recipe import Recipe
from lpt.store import manifest
from lpt.store.ledger import Ledger
from lpt.store.rescue import examine
from lpt.store.run import Run
from tests.conftest import Sim, small_recipe
from tests.crash.killing import made


def lpt(*words: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "lpt", *map(str, words)]
    return subprocess.run(command, check=False, capture_output=True, text=True, encoding="utf-8")


def save(recipe: Recipe, path: Path) -> Path:
    path.write_text(recipe.toml())
    return path


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A disk of so many bytes."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small disk takes the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def undisturbed(recipe: Recipe, folder: Path) -> dict[str, bytes]:
    run = synthesize(recipe, folder)
    compose(run)
    return made(run.path)


def forget_what_is_finished(run: Run) -> None:
    """So that all is derived from the ledger again."""
    for path in run.path.glob("finished*"):
        path.unlink()


def used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_disk_that_fills_up_on_the_way_is_told_and_the_run_goes_on_when_there_is_room(
    sim: Sim, tmp_path: Path
) -> None:
    recipe = small_recipe(sim.url, scenes=2)
    whole = undisturbed(recipe, tmp_path / "whole")
    file = save(recipe, tmp_path / "recipe.toml")
    asked = len(sim.requests())
    with small_disk(tmp_path / "disk", 2 * used(tmp_path / "whole") + (1 << 20)) as disk:
        for room in (20_000, 100_000, 300_000):
            free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
            (disk / "holiday.mp4").write_bytes(bytes(max(free - room, 0)))
            done = lpt("run", file, "--out", disk / "run")
            (disk / "holiday.mp4").unlink()
            assert "Traceback" not in done.stderr, done.stderr
            assert done.returncode in (0, 2, 4), done.stderr
            if done.returncode:
                assert re.search("disk is full|No space left", done.stderr), done.stderr
                assert re.search("same command|make room|run it again", done.stderr), done.stderr
        assert undisturbed(recipe, disk / "run") == whole
    # What could be committed was; what could not was in flight when the disk was full: of each of three runs.
    assert len(sim.requests()) - 2 * asked <= 3 * 3 * 64


def test_a_folder_that_becomes_read_only_is_told(sim: Sim, tmp_path: Path) -> None:
    recipe = small_recipe(sim.url, scenes=1)
    file = save(recipe, tmp_path / "recipe.toml")
    with small_disk(tmp_path / "disk", 64 << 20) as disk:
        run = Run(disk / "run", recipe)
        whole = undisturbed(recipe, run.path)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for command in (["run", file, "--out", run.path], ["compose", run.path]):
            done = lpt(*command)
            assert done.returncode in (2, 4)
            assert "Read-only file system" in done.stderr
            assert "Traceback" not in done.stderr
        for command in (["status", run.path], ["check", run.path]):
            done = lpt(*command)
            assert done.returncode == 0, done.stderr
        assert made(run.path) == whole


def test_damage_is_found_named_and_made_good(sim: Sim, tmp_path: Path) -> None:
    recipe = small_recipe(sim.url, scenes=2)
    run = Run(tmp_path / "run", recipe)
    whole = undisturbed(recipe, run.path)
    asked = len(sim.requests())
    sound = lpt("check", run.path)
    assert (sound.returncode, sound.stderr) == (0, "")
    assert re.fullmatch(r"ledger   \d+ replies of \d+ calls: whole\ntables   whole\n", sound.stdout)

    said = next(thought.text for thought in run.thoughts() if len(thought.text) < 1000)
    page = run.ledger_path.read_bytes().index(said.encode()) // 4096
    with run.ledger_path.open("r+b") as ledger:
        ledger.seek(page * 4096)
        ledger.write(b"\xff" * 4096)
    forget_what_is_finished(run)
    thoughts = run.table_path("thoughts")
    thoughts.write_bytes(thoughts.read_bytes()[:-100])

    told = lpt("status", run.path)
    assert told.returncode == 4
    assert "thoughts.parquet cannot be read" in told.stderr

    repaired = lpt("check", run.path, "--repair")
    assert repaired.returncode == 4, "the table is still torn"
    assert "tables   DAMAGED" in repaired.stdout
    assert "thoughts.parquet cannot be read" in repaired.stdout
    assert re.search(r"repaired: \d+ replies of \d+ calls are saved, at least \d+ are lost", repaired.stdout)
    assert len(list(run.path.glob("ledger.sqlite.damaged-*"))) == 1

    assert undisturbed(recipe, run.path) == whole
    again = len(sim.requests()) - asked
    assert 0 < again < asked / 4, "only what was lost is asked for again"
    assert examine(run.ledger_path).sound


def test_a_table_that_is_torn_is_written_anew_and_nothing_is_asked_for(sim: Sim, tmp_path: Path) -> None:
    recipe = small_recipe(sim.url, scenes=1)
    run = Run(tmp_path / "run", recipe)
    whole = undisturbed(recipe, run.path)
    asked = len(sim.requests())
    for name in ("captions", "long_thoughts", "drops", "sft"):
        path = run.table_path(name)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1  # of the same size
        path.write_bytes(data)
        assert list(manifest.examine(run.tables)) == [name]
        assert undisturbed(recipe, run.path) == whole, name
    (run.tables / manifest.NAME).write_bytes(b"{")
    assert undisturbed(recipe, run.path) == whole
    assert len(sim.requests()) == asked


def test_a_run_whose_ledger_is_damaged_saves_what_is_whole_by_itself(sim: Sim, tmp_path: Path) -> None:
    recipe = small_recipe(sim.url, scenes=1)
    run = Run(tmp_path / "run", recipe)
    whole = undisturbed(recipe, run.path)
    asked = len(sim.requests())
    with run.ledger_path.open("r+b") as ledger:
        ledger.write(bytes(4096))
    forget_what_is_finished(run)
    done = lpt("run", save(recipe, tmp_path / "recipe.toml"), "--out", run.path)
    assert done.returncode == 0, done.stderr
    assert "was damaged: " in done.stderr
    assert "are saved" in done.stderr
    assert made(run.path) == whole
    assert len(sim.requests()) - asked <= 1


def test_the_second_run_is_told_who_holds_the_folder_or_the_ledger(sim: Sim, tmp_path: Path) -> None:
    shared = f'ledger="{tmp_path / "shared.sqlite"}"'
    file = save(small_recipe(sim.url, shared, scenes=1), tmp_path / "recipe.toml")
    with Ledger(tmp_path / "shared.sqlite", "runs/other"):
        done = lpt("run", file, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert f"is in use by process {os.getpid()} on " in done.stderr
    assert "(runs/other): wait for it, or stop it" in done.stderr
    assert "Traceback" not in done.stderr
    assert not sim.requests()
