"""Every step of the miniature for real, on a student that answers in the right form and at random."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]


def rows(folder: Path, *names: str) -> str:
    """What the script prints."""
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SEEDS": "0",
        "SIZE": "tiny",
        "BENCH": "boards-bench-small",
        "BOARDS": "12",
        "SFT": "--set optimizer.tokens=20000",
        "WORK": str(folder / "work"),
        "RESULTS": str(folder / "results"),
    }
    done = subprocess.run(
        [str(ROOT / "scripts" / "miniature.sh"), *names], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def moved(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name].float(), after[name].float())}


def test_every_step_changes_what_it_should(tmp_path: Path) -> None:
    said = rows(tmp_path, "base", "sft", "dpo")
    work = tmp_path / "work" / "0"

    student = weights(work / "student")
    assert (work / "student" / "curves.svg").read_text().startswith("<svg")
    learnt = moved(bfloat16(student), weights(work / "sft" / "model"))
    assert learnt
    assert not [one for one in learnt if "visual" in one]
    assert moved(weights(work / "sft" / "model"), weights(work / "dpo" / "model"))

    state = json.loads((work / "run" / "state.json").read_bytes())
    assert state
    results = {path.stem: json.loads(path.read_bytes()) for path in (tmp_path / "results").glob("*.json")}
    assert set(results) == {"base-0", "sft-0", "dpo-0"}
    assert all(len(one["final"]) == len(one["first"]) == 288 for one in results.values())
    assert results["base-0"]["notes"] == {}
    assert results["sft-0"]["notes"]["tokens"] > 0
    assert [line.split("|")[1].strip() for line in said.splitlines()[2:5]] == ["base", "sft", "dpo"]

    times = {path: path.stat().st_mtime_ns for path in work.rglob("model.safetensors")}
    assert rows(tmp_path, "sft") == said  # nothing that is there is made again
    assert times == {path: path.stat().st_mtime_ns for path in work.rglob("model.safetensors")}


def bfloat16(found: dict[str, Any]) -> dict[str, Any]:
    """As a training in bfloat16 writes weights that it has not moved."""
    return {name: value.bfloat16() for name, value in found.items()}
