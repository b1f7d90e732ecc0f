"""Two processes that train together over gloo do what one does.

Sharded weights (FSDP, ZeRO-3) need GPUs: accelerate takes no notice of them on a CPU.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lpt.store.run import Run
from tests.train.conftest import recipe

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("trl")

from lpt.train import session  # noqa: E402 (after what it needs)
from lpt.train.prepare import prepare  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_two_processes_do_what_one_does(a_run: Run, tiny_model: Path, tmp_path: Path):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = [*launch, Path(__file__).parent / "worker.py", a_run.path, tiny_model, tmp_path / "two"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([str(word) for word in words], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "two" / "found.json").read_text())
    assert found["processes"] == 2

    one = tmp_path / "one"
    # Which lengths go together depends on what one process has at once, so not by length.
    settings = recipe(
        "sft", tiny_model, optimizer={"max_steps": 2, "learning_rate": 1e-3}, memory={"by_length": False}
    )
    trained = session.train(prepare(a_run.path, one, settings), one)
    assert found["losses"] == pytest.approx([trained.first_loss, trained.last_loss], abs=2e-4)
    models: list[dict[str, Any]] = [
        transformers.AutoModelForImageTextToText.from_pretrained(folder / "model").state_dict()
        for folder in (one, tmp_path / "two")
    ]
    for name, weights in models[0].items():
        assert torch.allclose(weights, models[1][name], atol=2e-4), name
