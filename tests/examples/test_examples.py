"""The examples, each run by the very command that its page shows."""

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from lpt.store.run import Run

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PAGE = (EXAMPLES / "README.md").read_text(encoding="utf-8")
COMMANDS = dict(re.findall(r"^\| \[([\w.]+)\].*\| `([^`]+)` \|$", PAGE, re.MULTILINE))


def carry_out(name: str, out: Path) -> str:
    """Run an example into a folder of ours; what it printed."""
    words = shlex.split(COMMANDS[name])
    words = [str(out) if word.startswith("runs/") else word for word in words]
    if words[0] == "python":
        words.append(str(out))
    program = [sys.executable] if words[0] == "python" else [sys.executable, "-m", "lpt"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where the `lpt` of `launch` is
    child = subprocess.run(
        [*program, *words[1:]],
        cwd=ROOT,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    return child.stdout


def test_the_page_shows_every_example():
    there = {path.name for path in EXAMPLES.iterdir() if path.suffix == ".py" or (path / "recipe.toml").exists()}
    assert set(COMMANDS) == there


def test_own_captions(tmp_path: Path):
    carry_out("own_captions", tmp_path)
    run = Run.open(tmp_path)
    captions = sorted(run.captions(), key=lambda caption: caption.path)
    assert [caption.path for caption in captions] == [f"scene{i}.jpg" for i in range(4)]
    assert captions[0].source == "source.py:coco"
    assert captions[0].text.count(". ") >= 6, "all sentences of an image are its caption"
    assert list(run.sft())


def test_own_questions(tmp_path: Path):
    carry_out("own_questions", tmp_path)
    run = Run.open(tmp_path)
    with (EXAMPLES / "own_questions" / "questions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    expected = {(row["stem"], row["abcd"[int(row["right"])]]) for row in rows}
    assert {(question.stem, question.answer_text) for question in run.questions()} == expected
    assert list(run.sft())


def test_own_filter(tmp_path: Path):
    told = carry_out("own_filter", tmp_path)
    run = Run.open(tmp_path)
    dithering = re.compile(r"\b(wait|hmm|actually|alternatively)\b", re.IGNORECASE)
    assert any(drop.reason == "dithering" for drop in run.drops())
    assert all(len(dithering.findall(example.target)) <= 2 for example in run.sft() if example.set == "long")
    assert "dithering" in told


def test_compare_cues(tmp_path: Path):
    told = carry_out("compare_cues", tmp_path)
    _, *lines = told.splitlines()
    assert [line.split()[0] for line in lines] == ["Wait,", "Alternatively,"]
    wait, alternatively = (Run.open(tmp_path / name) for name in ("wait", "alternatively"))
    assert list(wait.thoughts()) == list(alternatively.thoughts()), "the very same thoughts"
    assert {long.cue for long in alternatively.long_thoughts()} == {"Alternatively,"}


def test_from_python(tmp_path: Path):
    told = carry_out("from_python.py", tmp_path)
    assert "given, not learnt" in told
    assert (tmp_path / "exports" / "trl").is_dir()
