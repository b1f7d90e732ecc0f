"""A run on Ray, on this machine alone: the tables that one process makes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lpt.curate.compose import compose
from lpt.pipeline import synthesize
from tests.cluster.test_gather import tables
from tests.conftest import Sim, small_recipe

pytest.importorskip("ray")


@pytest.mark.slow
def test_a_run_on_ray_makes_the_tables_of_one_process(sim: Sim, tmp_path: Path):
    recipe = small_recipe(sim.url, "cluster.workers=1", "cluster.partitions=2", "cluster.publish=1")
    (tmp_path / "recipe.toml").write_text(recipe.toml())
    compose(synthesize(recipe, tmp_path / "one"))
    asked = len(sim.requests())
    # A process of its own: Ray leaves threads and handlers behind.
    words = ["run", tmp_path / "recipe.toml", "--out", tmp_path / "run", "--on", "ray"]
    command = [sys.executable, "-m", "lpt", *map(str, words)]
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr
    assert tables(tmp_path / "run") == tables(tmp_path / "one")
    assert len(sim.requests()) == 2 * asked
