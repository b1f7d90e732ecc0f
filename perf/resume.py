"""Resuming a finished run: seconds and peak memory of the same command once more; goal: ≤ 3 minutes and ≤ 1 GB.

Three ways: nothing has changed, and rows stay where they are; an image is left out, and the rows of all others are
taken over; nothing can be taken over, and everything is derived from the ledger. Then what a command does after it,
the sets and the status; and all that the same command does once more.

python -m perf.resume [--replies N]     of 100,000 replies by default, each way in a process of its own
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from perf.images import captioned
from perf.overlap import json_toml

CUES = ("Wait,", "Hmm,", "Alternatively,")
SAMPLES = 3
QUESTIONS = 4
ALL = "nothing changed, sets and status"
AN_IMAGE = 1 + QUESTIONS * SAMPLES * (1 + len(CUES) * SAMPLES)
"""Replies of one image."""
WAYS = ("made", "nothing changed", "an image left out", "derived from the ledger", "sets and status", ALL)


def one(way: str, folder: Path, images: int) -> None:
    """Go one way and print what it took."""
    from lpt.curate.compose import compose  # noqa: PLC0415 (part of what is measured)
    from lpt.look.status import status  # noqa: PLC0415
    from lpt.pipeline import synthesize  # noqa: PLC0415
    from lpt.recipe import Recipe  # noqa: PLC0415
    from lpt.store.run import Run  # noqa: PLC0415
    from perf.instant import Instant, instead  # noqa: PLC0415

    models = {name: {"url": "http://nowhere/v1", "model": name} for name in ("asker", "student", "reasoner")}
    recipe = Recipe.parse(
        json_toml(
            {
                "captions": {"source": "folder", "path": str(folder / "images")},
                "models": models,
                "ask": {"model": "asker"},
                "think": {"model": "student", "samples": SAMPLES},
                "think_harder": {"model": "reasoner", "samples": SAMPLES, "cues": list(CUES), "rewinds": 0},
                "budget": {"mode": "exhaustive"},
            }
        )
    )
    model = Instant(questions=QUESTIONS, words=120)
    began = time.perf_counter()
    if way != "sets and status":
        if way == "derived from the ledger":
            for account in (folder / "run").glob("finished.*.sqlite"):
                account.unlink()
        with instead(model):
            synthesize(recipe, folder / "run", limit=images - (way == "an image left out"))
    if way in ("sets and status", ALL):
        run = Run.open(folder / "run")
        compose(run)
        status(run)
    print(
        json.dumps(
            {
                "seconds": round(time.perf_counter() - began, 1),
                "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                "asked": model.asked,
            }
        )
    )


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--replies", type=int, default=100_000)
    parser.add_argument("--way", nargs=3)
    given = parser.parse_args()
    if given.way:
        one(given.way[0], Path(given.way[1]), int(given.way[2]))
        return
    images = -(-given.replies // AN_IMAGE)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "images").mkdir()
        captioned(Path(folder) / "images", images)
        ways = {}
        for way in WAYS:
            command = [sys.executable, "-m", "perf.resume", "--way", way, folder, str(images)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            ways[way] = json.loads(done.stdout)
            print(f"{way}: {done.stdout.strip()}", file=sys.stderr, flush=True)
            assert way == "made" or not ways[way]["asked"], "everything was known"
        sizes = {path.name: path.stat().st_size for path in (Path(folder) / "run").glob("*.sqlite")}
        sizes |= {path.name: path.stat().st_size for path in (Path(folder) / "run" / "tables").glob("*.parquet")}
    print(
        json.dumps(
            {
                "measure": "resume",
                "replies": images * AN_IMAGE,
                "images": images,
                "ways": ways,
                "bytes": sizes,
                "goal": "1,000,000 replies in <= 180 s and <= 1,000 MB",
            }
        )
    )


if __name__ == "__main__":
    main()
