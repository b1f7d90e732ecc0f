"""`make stress`: runs on a Ray cluster of two nodes, one of which is killed in the middle.

python -m tests.crash.nodes [--seeds 3] [--first 0]

What must hold: the run ends well, on the node that is left; its tables and sets are, byte for byte, those of one
process that nobody disturbed; and no request is sent after the kill whose reply had been published before it. What
is repeated was in flight, or answered since the last piece. One line a seed; figures as JSON at the end.
"""

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil

from lpt.store.pieces import take_up
from tests.conftest import MODELS, simulate, small_recipe
from tests.crash.killing import Asked, Broken, Counting, committed, idle, made

_SCENES = 8
_PARTITIONS = 4
_LATENCY = 0.03


@contextlib.contextmanager
def two_nodes() -> Iterator[tuple[Any, Any]]:
    """A cluster of two nodes on this machine, each with room for one worker; the cluster, and its second node."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    small: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    try:
        yield cluster, cluster.add_node(**small)
    finally:
        cluster.shutdown()


def kill(cluster: Any, node: Any) -> None:
    """All that runs on a node, at once: left alone, its workers would outlive it for a while."""
    above = [told.process.pid for several in node.all_processes.values() for told in several]
    every = [process for pid in above for process in psutil.Process(pid).children(recursive=True)]
    for process in every:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    cluster.remove_node(node, allow_graceful=False)


def published(run: Path, scratch: Path) -> set[Asked]:
    """What stands in the pieces of a run."""
    pieces = [(path.name, path.read_bytes()) for path in run.glob("partitions/*/pieces/*.piece")]
    scratch.mkdir()
    take_up(scratch / "ledger.sqlite", pieces)
    return committed(scratch)


def wait_for(run: Path, counting: Counting, requests: int, child: "subprocess.Popen[str]") -> None:
    """Wait until so many requests were made, and something was published.

    Raises:
        Broken: the run ended before.
    """
    counting.wait(requests, lambda: child.poll() is not None)
    while child.poll() is None:
        if any(run.glob("partitions/*/pieces/*.piece")):
            return
        time.sleep(0.02)
    raise Broken(f"the run was over before a node was killed: {child.communicate()[1]}")


def trial(folder: Path, url: str, counting: Counting, whole: dict[str, bytes], requests: int, seed: int) -> int:
    """One run, one node killed; how many requests were repeated.

    Raises:
        Broken: a promise that did not hold.
    """
    folder.mkdir()
    narrow = [f"models.{name}.concurrency=8" for name in MODELS]
    cluster_settings = ["cluster.workers=2", f"cluster.partitions={_PARTITIONS}", "cluster.publish=0.2"]
    recipe = small_recipe(url, *narrow, *cluster_settings, scenes=_SCENES)
    (folder / "recipe.toml").write_text(recipe.toml())
    run = folder / "run"
    first = counting.count()
    command: list[str | Path] = [sys.executable, "-m", "lpt", "run", folder / "recipe.toml", "--out", run]
    command += ["--on", "ray"]
    with two_nodes() as (cluster, second):
        env = os.environ | {"RAY_ADDRESS": cluster.address}
        child = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            # Late enough that both nodes have published, early enough that both are at work.
            share = random.Random(f"node {seed}").uniform(0.15, 0.6)
            wait_for(run, counting, first + int(share * requests), child)
            known = published(run, folder / "known")
            start = counting.count()
            kill(cluster, second)
            _, talk = child.communicate(timeout=300)
        finally:
            child.kill()
            child.communicate()
    idle(url)
    counting.catch_up()
    if "lost its worker" not in talk:
        raise Broken(f"no worker was lost with the node: {talk}")
    if child.returncode:
        raise Broken(f"the run ended with {child.returncode}: {talk}")
    asked = [(line.model, line.seed) for line in counting.since(start)]
    # Not those that were out when their like was published: a request is logged when it is answered.
    again = sorted({request for request in asked if request in known})
    if again:
        raise Broken(f"published, and asked for again: {again[:5]} … {len(again)} in all")
    found = made(run)
    different = {name for name in found.keys() | whole.keys() if found.get(name) != whole.get(name)}
    if different:
        raise Broken(f"not as in a single process: {', '.join(sorted(different))}")
    times = Counter(line.digest for line in counting.since(first))
    return sum(count - 1 for count in times.values())


def undisturbed(folder: Path, url: str, counting: Counting) -> tuple[dict[str, bytes], int]:
    """What a single process makes, and how many requests that takes."""
    recipe = folder / "whole.toml"
    recipe.write_text(small_recipe(url, scenes=_SCENES).toml())
    command: list[str | Path] = [sys.executable, "-m", "lpt", "run", recipe, "--out", folder / "whole"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    counting.catch_up()
    return made(folder / "whole"), counting.count()


def main() -> int:
    """Kill a node for each seed, and say what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    failed, repeated = [], 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        counting = Counting(folder / "log")
        with simulate(folder / "log", "--dial", f"latency={_LATENCY}") as server:
            whole, requests = undisturbed(folder, server.url, counting)
            for seed in range(given.first, given.first + given.seeds):
                try:
                    twice = trial(folder / f"seed-{seed}", server.url, counting, whole, requests, seed)
                except Broken as error:
                    failed.append(seed)
                    print(f"seed {seed}: a node of two: BROKEN: {error}", file=sys.stderr, flush=True)
                    continue
                repeated += twice
                print(f"seed {seed}: a node of two: {twice} repeated", file=sys.stderr, flush=True)
    figures = {
        "nodes_killed": given.seeds,
        "requests": requests,
        "repeated": repeated,
        "failed": failed,
        "seconds": round(time.monotonic() - began, 1),
    }
    print(msgspec.json.encode(figures).decode())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
