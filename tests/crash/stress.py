"""`make stress`: hundreds of kills at random points, over seeds.

python -m tests.crash.stress [--seeds 40] [--kills 5] [--first 0]

A kill falls after a random number of requests, at a random time (also while captions are read and tables are
written), while sets are made, or on the launched server. One line a seed; figures as JSON at the end. A seed that
fails is named: `--first SEED --seeds 1` repeats its choices.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from tests.crash.killing import Broken, Kind, Told, killing

_KINDS: tuple[Kind, ...] = ("asked", "asked", "asked", "time", "compose")


def kinds(seed: int, kills: int) -> list[Kind]:
    """Where the kills of a seed fall."""
    noise = random.Random(f"kinds {seed}")
    if seed % 8 == 7:  # with launched servers, which take their time to start
        return ["server", "asked", *(noise.choice(("asked", "server")) for _ in range(kills - 2))]
    chosen = [noise.choice(_KINDS) for _ in range(kills)]
    # Sets are made of what is there: not before there is something.
    return sorted(chosen, key=lambda kind: kind == "compose") if "asked" in chosen else ["asked", *chosen[1:]]


def main() -> int:
    """Kill, and say what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--kills", type=int, default=5, help="of each seed")
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    told, failed = Told(), []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, killing(Path(folder)) as trials:
        for seed in range(given.first, given.first + given.seeds):
            points = kinds(seed, max(given.kills, 2))
            try:
                one = trials.trial(seed, points)
            except Broken as error:
                failed.append(seed)
                print(f"seed {seed}: {' '.join(points)}: BROKEN: {error}", file=sys.stderr, flush=True)
                continue
            told.add(one)
            print(
                f"seed {seed}: {' '.join(points)}: {one.requests} requests, {one.repeated} repeated",
                file=sys.stderr,
                flush=True,
            )
    figures = msgspec.to_builtins(told) | {"failed": failed, "seconds": round(time.monotonic() - began, 1)}
    print(msgspec.json.encode(figures).decode())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
