"""Verbs that look, as a user runs them: what comes out of stdout, what of stderr, and with which exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

from lpt.models.base import Usage
from lpt.recipe import Recipe
from tests.look.small import Small
from tests.look.test_spending import spent

RECIPES = Path(__file__).parents[2] / "recipes"


def lpt(*words: object, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "lpt", *map(str, words)]
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "COLUMNS": "140", **(env or {})},
    )


def test_recipe_show_prints_a_recipe_that_is_the_same(tmp_path: Path) -> None:
    done = lpt("recipe", "show", RECIPES / "demo.toml", "--set", "think.samples=4", "--set", "ledger=l.sqlite")
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "again.toml").write_text(done.stdout, encoding="utf-8")
    again = Recipe.load(tmp_path / "again.toml")
    assert again == Recipe.load(RECIPES / "demo.toml", ["think.samples=4", "ledger=l.sqlite"])
    assert again.think
    assert again.think.samples == 4
    assert again.ledger == str(RECIPES / "l.sqlite")


def test_a_wrong_recipe_is_one_message_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('[think]\nmodel = "m"\nsampels = 3\n')
    done = lpt("recipe", "show", tmp_path / "r.toml")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"lpt: {tmp_path}/r.toml, line 3: there is no setting `think.sampels`; did you mean `samples`?\n"
    )
    assert lpt("recipe", "show", tmp_path / "none.toml").returncode == 2


def test_a_message_that_quotes_a_stranger_is_harmless(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('"\\u001b[31m" = 1\n')
    done = lpt("recipe", "show", tmp_path / "r.toml")
    assert "there is no setting `\ufffd[31m`" in done.stderr
    assert "\x1b" not in done.stderr


async def test_ledger_tells_what_was_spent(tmp_path: Path) -> None:
    await spent(tmp_path, think=("m", Usage(1000, 500, 0)))
    table = lpt("ledger", tmp_path)
    assert table.returncode == 0, table.stderr
    assert "think" in table.stdout
    told = json.loads(lpt("ledger", tmp_path, "--json").stdout)
    assert told["spent"][0]["money"] == 0.002


def test_ledger_of_what_is_no_run_is_exit_code_2(tmp_path: Path) -> None:
    done = lpt("ledger", tmp_path / "none")
    assert done.returncode == 2
    assert done.stderr.startswith("lpt: ")
    assert "does not exist" in done.stderr


def test_show_prints_an_example_and_damage_is_exit_code_4(tmp_path: Path) -> None:
    small = Small()
    run = small.save(tmp_path)
    done = lpt("show", tmp_path, small.long.id[:12])
    assert done.returncode == 0, done.stderr
    assert "Wait, the car is blue." in done.stdout
    run.table_path("drops").write_bytes(b"torn")
    done = lpt("show", tmp_path)
    assert done.returncode == 4
    assert "drops.parquet cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
