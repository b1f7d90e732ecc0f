"""A day's run within minutes: what grows while images stream through, and what must not.

The real journey, ledger and tables, with a model that answers at once and fails now and then; the clock of the
progress display goes by replies. As many as 24 hours bring at 12 replies a second (10,000 tokens a second at 800
each): about a million. Then two hours' worth over HTTP, for connections and handles. Memory, open files, tasks and
threads are looked at 200 times; after a quarter of the run they must have come to rest.

python -m perf.soak [--hours 24] [--http-hours 2]     each in a process of its own
"""

import argparse
import asyncio
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from perf.images import captioned
from perf.overlap import json_toml

RATE = 12
SAMPLES = 3
CUES = ("Wait,", "Hmm,", "Alternatively,")
QUESTIONS = 4
AN_IMAGE = 1 + QUESTIONS * SAMPLES * (1 + len(CUES) * SAMPLES)
LOOKS = 200
NAMES = ("asker", "student", "reasoner")


def run(hours: float, http: bool) -> None:
    """Run so many hours' worth of images, and print what was seen."""
    from rich.console import Console  # noqa: PLC0415 (part of the process that is watched)

    from lpt.errors import Unavailable  # noqa: PLC0415
    from lpt.look.progress import Progress  # noqa: PLC0415
    from lpt.models.base import Reply, Request  # noqa: PLC0415
    from lpt.models.recorded import Recorded  # noqa: PLC0415
    from lpt.pipeline import synthesize  # noqa: PLC0415
    from lpt.recipe import Recipe  # noqa: PLC0415
    from perf.instant import Instant, instead  # noqa: PLC0415
    from perf.stub import stub  # noqa: PLC0415

    total = int(hours * 3600 * RATE)
    images = -(-total // AN_IMAGE)
    looks: list[dict[str, Any]] = []
    replies = 0

    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (place / "images").mkdir()
        captioned(place / "images", images)
        out = place / "run"
        screen = io.StringIO()

        def clock() -> float:
            return replies / RATE

        def look() -> None:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            looks.append(
                {
                    "replies": replies,
                    "rss_mb": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
                    "files": len(list(Path("/proc/self/fd").iterdir())),
                    "tasks": len(asyncio.all_tasks()),
                    "threads": threading.active_count(),
                    "ledger": size(out / "ledger.sqlite"),
                    "wal": size(out / "ledger.sqlite-wal"),
                    "said": progress.line(),
                }
            )

        class Failing(Instant):
            async def ask(self, request: Request) -> Reply:
                if (request.seed >> 7) % 1000 == 0:
                    raise Unavailable("down for a moment", kind="http-503")
                return await super().ask(request)

        url = stack.enter_context(stub(words=120)) if http else "http://nowhere/v1"
        models = {name: {"url": url, "model": name, "prefill": "continue"} for name in NAMES}
        recipe = Recipe.parse(
            json_toml(
                {
                    "captions": {"source": "folder", "path": str(place / "images")},
                    "models": models,
                    "ask": {"model": "asker"},
                    "think": {"model": "student", "samples": SAMPLES},
                    "think_harder": {"model": "reasoner", "samples": SAMPLES, "cues": list(CUES), "rewinds": 0},
                    "budget": {"mode": "exhaustive"},
                }
            )
        )
        console = Console(file=screen, force_terminal=False, width=200)
        progress = Progress(console, recipe.models, recipe.used_by(), every=3600, clock=clock)
        inner = Recorded.ask

        async def ask(self: Recorded, request: Request) -> Reply:
            nonlocal replies
            reply = await inner(self, request)
            replies += len(reply.choices)
            if replies * LOOKS // (images * AN_IMAGE) > len(looks):
                look()
            return reply

        Recorded.ask = ask  # type: ignore[method-assign]
        if not http:
            stack.enter_context(instead(Failing(questions=QUESTIONS, words=120)))
        with progress:
            synthesize(recipe, out, watcher=progress)
        print(json.dumps(told(looks, replies, out, screen.getvalue().splitlines()[-1])))


def told(looks: list[dict[str, Any]], replies: int, out: Path, last: str) -> dict[str, Any]:
    """What the looks come to."""
    calm = [look for look in looks if look["replies"] >= replies / 4]
    half = next(look for look in looks if look["replies"] >= replies / 2)
    per_reply = [round(look["ledger"] / look["replies"]) for look in (calm[0], half, calm[-1])]
    return {
        "replies": replies,
        "simulated_hours": round(replies / RATE / 3600, 1),
        "rss_mb": [round(look["rss_mb"]) for look in (calm[0], half, calm[-1])],
        "rss_mb_per_hour": round(slope(calm) * RATE * 3600, 2),
        **{name: most(looks, replies, name) for name in COUNTS},
        "wal_mb": round(max(look["wal"] for look in looks) / 1e6, 1),
        "ledger_bytes_per_reply": per_reply,
        "logs_bytes": sum(size(path) for path in (out / "logs").iterdir()),
        "said_at_half": half["said"],
        "said_last": last,
    }


COUNTS = ("files", "tasks", "threads")


def most(looks: list[dict[str, Any]], replies: int, name: str) -> list[int]:
    """The most there were of something in the second and in the last quarter of a run."""
    second = [look[name] for look in looks if replies / 4 <= look["replies"] < replies / 2]
    return [max(second), max(look[name] for look in looks if look["replies"] >= replies * 3 / 4)]


def slope(looks: list[dict[str, Any]]) -> float:
    """Megabytes a reply, by least squares."""
    xs = [look["replies"] for look in looks]
    ys = [look["rss_mb"] for look in looks]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return float(sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs))


def size(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def verdict(leg: dict[str, Any]) -> list[str]:
    """What is not as it should be."""
    wrong = []
    if leg["rss_mb"][-1] > 1.1 * leg["rss_mb"][0] + 10:
        wrong.append("memory grows")
    for name in COUNTS:
        before, after = leg[name]
        if after > 1.1 * before + 8:
            wrong.append(f"{name} grow")
    first, *_, last = leg["ledger_bytes_per_reply"]
    if abs(last - first) > 0.05 * first + 2e6 * leg["wal_mb"] / leg["replies"]:  # some still stands in the log
        wrong.append("the ledger is not as large as predicted")
    found = re.search(r"in (\d+) h", leg["said_last"])
    if leg["simulated_hours"] >= 2 and (not found or abs(int(found[1]) - leg["simulated_hours"]) > 1):
        wrong.append("the progress display is wrong")
    return wrong


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--http-hours", type=float, default=2)
    parser.add_argument("--run", nargs=2)
    given = parser.parse_args()
    if given.run:
        run(float(given.run[0]), given.run[1] == "http")
        return
    legs = {}
    for name, hours in (("instant", given.hours), ("http", given.http_hours)):
        if hours:
            command = [sys.executable, "-m", "perf.soak", "--run", str(hours), name]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            legs[name] = json.loads(done.stdout.splitlines()[-1])
            legs[name]["wrong"] = verdict(legs[name])
    print(json.dumps({"measure": "soak", "legs": legs, "goal": "nothing wrong"}))


if __name__ == "__main__":
    main()
