"""A million questions through journey, ledger, tables and sets on this machine: seconds, memory, bytes.

The models answer at once and within the process, so what is measured is what is ours: everything but the models. A
question takes about three replies here; the constants are told for each reply, so that other budgets can be worked
out from them (docs/scale.md). Memory is looked at a hundred times on the way, to see that it does not grow.

python -m perf.scale [--questions 1000000] [--folder FOLDER]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perf.images import captioned
from perf.overlap import json_toml

QUESTIONS = 8
"""Of an image."""
LOOKS = 100


def one(folder: Path) -> None:
    """Run, compose, look at the status, and print what each took."""
    from lpt.curate.compose import compose  # noqa: PLC0415 (part of what is measured)
    from lpt.look.status import status  # noqa: PLC0415
    from lpt.pipeline import synthesize  # noqa: PLC0415
    from lpt.recipe import Recipe  # noqa: PLC0415
    from perf.instant import Instant, instead  # noqa: PLC0415

    names = ("asker", "student", "reasoner")
    recipe = Recipe.parse(
        json_toml(
            {
                "captions": {"source": "folder", "path": str(folder / "images")},
                "models": {name: {"url": "http://nowhere/v1", "model": name} for name in names},
                "ask": {"model": "asker", "questions": QUESTIONS},
                "think": {"model": "student", "samples": 1},
                "think_harder": {"model": "reasoner", "samples": 1, "cues": ["Wait,", "Hmm,"], "rewinds": 0},
                "budget": {"right": 1, "mended": 1, "thoughts": 1},
            }
        )
    )
    model = Instant(questions=QUESTIONS, words=120)
    took: dict[str, Any] = {}
    with watched(took, "journey", model), instead(model):
        run = synthesize(recipe, folder / "run")
    with watched(took, "compose", model):
        compose(run)
    with watched(took, "status", model):
        status(run)
    took["rows"] = {
        name: run.table(name).select("id").collect().height
        for name in ("captions", "questions", "thoughts", "long_thoughts", "drops", "sft", "preferences")
        if run.has(name)
    }
    print(json.dumps(took | {"replies": model.asked}))


@contextmanager
def watched(took: dict[str, Any], what: str, model: Any) -> Iterator[None]:
    """Note the time of something, and the memory of this process while it goes on: early, late, at most."""
    over = threading.Event()
    looks: list[tuple[int, float]] = []

    def look() -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        while not over.wait(2.0):
            looks.append((model.asked, int(Path("/proc/self/statm").read_text().split()[1]) * page / 1e6))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    began, used = time.perf_counter(), time.process_time()
    try:
        yield
    finally:
        took[what] = {
            "seconds": round(time.perf_counter() - began, 1),
            "cpu": round(time.process_time() - used, 1),
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
        over.set()
        watcher.join()
        thinned = looks[:: max(1, len(looks) // LOOKS)]
        took[what]["rss_mb"] = [[asked, round(rss)] for asked, rss in thinned]


def sizes(run: Path) -> dict[str, int]:
    """Bytes on disk."""
    found = {path.name: path.stat().st_size for path in run.glob("*.sqlite*")}
    return found | {f"tables/{path.name}": path.stat().st_size for path in (run / "tables").glob("*.parquet")}


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--questions", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the run is kept; by default it is thrown away")
    parser.add_argument("--one", type=Path)
    given = parser.parse_args()
    if given.one:
        one(given.one)
        return
    images = -(-given.questions // QUESTIONS)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        (folder / "images").mkdir()
        captioned(folder / "images", images)
        command = [sys.executable, "-m", "perf.scale", "--one", str(folder)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        told = json.loads(done.stdout)
        bytes_ = sizes(folder / "run")
    questions, replies = told["rows"]["questions"], told["replies"]
    ledger = sum(size for name, size in bytes_.items() if name.startswith("ledger"))
    tables = sum(size for name, size in bytes_.items() if name.startswith("tables/"))
    print(
        json.dumps(
            {
                "measure": "scale",
                "images": images,
                "questions": questions,
                "replies": replies,
                **{key: told[key] for key in ("journey", "compose", "status", "rows")},
                "bytes": bytes_,
                "constants": {
                    "journey cpu ms a reply": round(1000 * told["journey"]["cpu"] / replies, 3),
                    "replies a second": round(replies / told["journey"]["seconds"]),
                    "ledger bytes a reply": round(ledger / replies),
                    "table bytes a question": round(tables / questions),
                    "compose us a long thought": round(
                        1e6 * told["compose"]["seconds"] / max(1, told["rows"].get("long_thoughts", 0)), 1
                    ),
                },
            }
        )
    )


if __name__ == "__main__":
    main()
