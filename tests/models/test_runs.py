"""Whole runs against servers that are sick: what passes leaves no trace, and what lasts is waited for."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from lpt.pipeline import Silent, synthesize
from lpt.serving.dials import FAULTS
from lpt.store.run import Run
from tests.conftest import MODELS, Sim, small_recipe

TABLES = ("captions", "questions", "thoughts", "long_thoughts", "drops")
LASTING = {"content-filter", "length", "null-content"}
"""Faults that are replies, and so are in the tables."""
ELSEWHERE = {"429", "429-after", "silent", "stall", "huge", "slow", "stranger"}
"""Faults that take long, or that want more than this, tested elsewhere."""


class Listener(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        """Keep it."""
        self.said.append(message)


def tables(run: Run) -> dict[str, bytes]:
    return {name: run.table_path(name).read_bytes() for name in TABLES}


def test_every_fault_that_passes_leaves_no_trace_in_the_tables(start_sim, tmp_path: Path):
    calm = synthesize(small_recipe(start_sim().url, scenes=2), tmp_path / "calm")
    passing = sorted(set(FAULTS) - LASTING - ELSEWHERE)
    faults = [f"--fault={fault}={0.25 / len(passing)}" for fault in passing]
    shaky: Sim = start_sim(*faults, "--dial", "echo_request_id=true", "--dial", "max_faults_per_request=2")
    told = [f'models.{name}.prefill="continue"' for name in MODELS]
    faulty = synthesize(small_recipe(shaky.url, *told, scenes=2), tmp_path / "faulty")
    struck = {request["fault"] for request in shaky.requests()} - {None}
    assert len(struck) >= len(passing) / 2
    assert tables(calm) == tables(faulty)


def test_a_server_that_goes_away_and_comes_back_leaves_no_trace_either(start_sim, tmp_path: Path):
    calm = synthesize(small_recipe(start_sim().url, scenes=2), tmp_path / "calm")
    server = start_sim("--dial", "down_after=20", "--dial", "down_seconds=4")
    attempts = [f"models.{name}.attempts=2" for name in MODELS]
    watcher = Listener()
    run = synthesize(small_recipe(server.url, *attempts, scenes=2), tmp_path / "run", watcher=watcher)
    assert tables(calm) == tables(run)
    assert "is down since" in watcher.said[0]
    assert "the run goes on" in watcher.said[-1]


def test_ctrl_c_ends_the_wait_for_a_server_at_once(start_sim, tmp_path: Path):
    server = start_sim("--dial", "down_after=20", "--dial", "down_seconds=600")
    (tmp_path / "recipe.toml").write_text(small_recipe(server.url, scenes=2).toml())
    command = [sys.executable, "-m", "lpt", "run", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "run")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as child:
        assert child.stderr
        for line in child.stderr:
            if "is down since" in line:
                child.send_signal(signal.SIGINT)
                break
        rest = child.stderr.read()
    assert child.returncode == 130
    assert "the same command" in rest
