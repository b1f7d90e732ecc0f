"""The command line as a person meets it: help, errors, exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("polars", "pyarrow", "aiohttp", "numpy", "PIL", "jinja2", "msgspec")


def lpt(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lpt", *arguments], input=stdin, capture_output=True, text=True, check=False
    )


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['lpt', '--help']\n"
        "from lpt.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('LOADED', *[name for name in sys.modules if '.' not in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.rpartition("LOADED")[2].split()
    assert "typer" in loaded
    assert not [name for name in HEAVY if name in loaded]


@pytest.mark.parametrize("verb", ["run", "status", "show", "compose", "export", "ledger", "grade", "sim"])
def test_every_verb_explains_itself(verb: str):
    done = lpt(verb, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "nowhere.toml", "--out", "x"], "there is no recipe at nowhere.toml"),
        (["status", "nowhere"], "does not exist"),
        (["show", "nowhere"], "does not exist"),
        (["ledger", "nowhere"], "does not exist"),
        (["compose", "nowhere"], "does not exist"),
        (["export", "nowhere", "--to", "trl"], "does not exist"),
        (["grade", "nowhere.jsonl"], "nowhere.jsonl"),
        (["import", "published", "nowhere", "--out", "x"], "nowhere"),
        (["sim", "--dial", "leek=0.5"], "did you mean leak?"),
        (["sim", "--fault", "teapot=1"], "unknown fault"),
        (["recipe", "show", "nowhere.toml"], "there is no recipe"),
    ],
)
def test_a_mistake_is_one_clear_message_on_stderr_and_status_2(arguments, says, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = lpt(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_grade_answers_on_stdout_line_by_line():
    line = json.dumps({"output": "<answer>(B)</answer>", "options": {"A": "red", "B": "blue"}, "answer": "A"})
    done = lpt("grade", "-", stdin=line + "\n" + line + "\n")
    answers = [json.loads(answer) for answer in done.stdout.splitlines()]
    assert [(answer["letter"], answer["correct"]) for answer in answers] == [("B", False), ("B", False)]


def test_a_recipe_is_shown_resolved_with_its_overrides(tmp_path: Path):
    file = tmp_path / "recipe.toml"
    file.write_text('[think]\nmodel = "student"\n')
    done = lpt("recipe", "show", str(file), "--set", "think.samples=7")
    assert "samples = 7" in done.stdout
    assert 'model = "student"' in done.stdout


def test_the_dials_of_the_simulation_are_listed_with_what_they_mean():
    done = lpt("sim", "--dials")
    assert done.returncode == 0
    for name in ("leak=0.5", "latency=0.0", "wrong_answer=0.03", "reset"):
        assert name in done.stdout
