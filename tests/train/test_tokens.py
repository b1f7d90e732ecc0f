"""`optimizer.tokens`: sets of different sizes are learnt from for as many tokens."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from lpt.store.run import Run
from tests.exports.runs import example, image_hash, make_run
from tests.train.conftest import KINDS, recipe

pytest.importorskip("torch")
pytest.importorskip("trl")

from lpt.train import session
from tests.train.watched import made


def steps(out: Path) -> tuple[int, float]:
    """How many steps a training took, and how often it went through its set."""
    last = max(out.glob("checkpoint-*/trainer_state.json"), key=lambda path: int(path.parent.name.split("-")[1]))
    state = json.loads(last.read_text())
    return state["global_step"], state["epoch"]


def runs(folder: Path) -> list[Run]:
    """A small set, and one with three times as many images."""
    found = []
    for count in (6, 18):
        images = [image_hash(number) for number in range(40) if not image_hash(number).startswith("f")][:count]
        examples = [example(image, **fields) for image in images for fields in KINDS.values()]
        found.append(make_run(folder / f"of-{count}", [*examples, example("f" + images[0][1:])]))
    return found


@pytest.mark.parametrize("tokens", [1, 500, 100_000])
def test_passes_times_the_sets_tokens_is_what_was_asked_for(tiny_model: Path, tmp_path: Path, tokens: int):
    for run in runs(tmp_path):
        settings = recipe("sft", tiny_model, optimizer={"tokens": tokens, "epochs": 3.0})
        prepared = made(run, tmp_path / f"out-{run.path.name}", settings)
        assert session.epochs(prepared) * prepared.train.total() == pytest.approx(tokens)


def test_without_it_epochs_decide(tiny_model: Path, tmp_path: Path):
    for run in runs(tmp_path):
        settings = recipe("sft", tiny_model, optimizer={"epochs": 3.0})
        assert session.epochs(made(run, tmp_path / f"out-{run.path.name}", settings)) == 3


def test_a_training_sees_about_as_many_tokens_whatever_the_sets_size(tiny_model: Path, tmp_path: Path):
    seen = []
    for run in runs(tmp_path):
        out = tmp_path / f"out-{run.path.name}"
        more: dict[str, Any] = {"tokens": 1500, "epochs": 9.0, "max_steps": 0, "batch": 2, "at_once": 2}
        prepared = made(run, out, recipe("sft", tiny_model, optimizer=more, validate={"every": 1000}))
        session.train(prepared, out)
        took, epoch = steps(out)
        per_step = prepared.train.total() / math.ceil(len(prepared.train.rows) / 2)
        assert took * per_step == pytest.approx(1500, abs=per_step)
        assert epoch == pytest.approx(1500 / prepared.train.total(), abs=0.2)
        seen.append(took)
    assert abs(seen[0] - seen[1]) <= 1
