"""A small demo run's sets, exported as a person exports them, and their rows."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

Row = dict[str, Any]
RECIPE = Path(__file__).parent.parent / "recipes" / "demo.toml"


def lpt(*arguments: object) -> str:
    """The command line; what it printed."""
    command = [sys.executable, "-m", "lpt", *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def rows(folder: Path, name: str) -> list[Row]:
    """A set's rows, in order, from either format."""
    path = folder / f"{name}.json"
    if path.exists():
        loaded: list[Row] = json.loads(path.read_text(encoding="utf-8"))
        return loaded
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def said(output: str, mark: str) -> list[Any]:
    """What a script printed as JSON behind a mark."""
    return [json.loads(line.removeprefix(mark)) for line in output.splitlines() if line.startswith(mark)]
