"""scripts/miniature_sets.py: sets with one thing wrong or left out, and all else as it was."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lpt.exports import export
from tests.exports.runs import example, image_hash, make_run, pair

SCRIPT = Path(__file__).parents[2] / "scripts" / "miniature_sets.py"
IMAGES = [image_hash(number) for number in range(20)]
RIGHT = {"category": "O", "prefix": "", "target": "<think> It is red. </think> <answer> (A) </answer>"}
SYSTEM = "Think between <think> and </think>."


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A right thought, a mistake put right, and two pairs of each image, some of them held out."""
    examples = [example(image, system=SYSTEM, **more) for image in IMAGES for more in (RIGHT, {})]
    pairs = [pair(image, system=SYSTEM, **more) for image in IMAGES for more in ({}, {"category": "O≻X"})]
    export(make_run(tmp_path / "run", examples, pairs), "trl", tmp_path / "export")
    return tmp_path / "export"


def changed(what: str, source: Path) -> Path:
    out = source.parent / what
    subprocess.run([sys.executable, str(SCRIPT), what, str(source), str(out)], check=True)
    return out


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_unmask_moves_the_wrong_thought_into_what_is_learnt(source: Path) -> None:
    before = files(source)
    out = changed("unmask", source)
    mistakes = 0
    for path in sorted(source.glob("lpt_sft_*.jsonl")):
        for old, new in zip(rows(path), rows(out / path.name), strict=True):
            assert old["prompt"] + old["completion"] == new["prompt"] + new["completion"]
            assert new["prompt"].endswith("<|im_start|>assistant\n")
            moved = old["prompt"].removeprefix(new["prompt"])
            assert moved == ("<think> It looks blue." if old["metadata"]["category"] == "X→O" else "")
            assert {**old, "prompt": "", "completion": ""} == {**new, "prompt": "", "completion": ""}
            mistakes += bool(moved)
    assert mistakes == len(IMAGES)
    assert files(source) == before  # images are links, rows are not
    after = files(out)
    assert after.keys() == before.keys()
    for name in before:
        if name.startswith("lpt_preferences"):
            assert rows(out / name) == rows(source / name)
        else:
            assert name.startswith("lpt_sft") or after[name] == before[name]


def test_without_mended_drops_those_pairs_and_no_others(source: Path) -> None:
    before = files(source)
    out = changed("without-mended", source)
    dropped = 0
    for path in sorted(source.glob("lpt_preferences_*.jsonl")):
        old, new = rows(path), rows(out / path.name)
        assert new == [row for row in old if row["metadata"]["category"] == "O≻X"]
        dropped += len(old) - len(new)
    assert dropped == len(IMAGES)
    assert files(source) == before
    assert files(out).keys() == before.keys()


def test_what_was_unmasked_is_learnt_by_the_trainer(tmp_path: Path) -> None:
    """Read by `lpt train` as the export is; the loss is on the wrong thought, too."""
    pytest.importorskip("torch")
    pytest.importorskip("trl")
    from lpt.train.prepare import prepare
    from lpt.train.sets import Row
    from tests.train import tiny
    from tests.train.conftest import recipe

    model = tiny.model(tmp_path / "tiny")
    plain = tmp_path / "plain"
    export(make_run(tmp_path / "other", [example(image) for image in IMAGES]), "trl", plain)
    learnt = {}
    for folder in (plain, changed("unmask", plain)):
        made = prepare(folder, tmp_path / f"out-{folder.name}", recipe("sft", model))
        learnt[folder.name] = {row.target for row in made.sets.train if isinstance(row, Row)}
    (before,), (after,) = learnt["plain"], learnt["unmask"]
    assert after == f"<think> It looks blue.{before}"
