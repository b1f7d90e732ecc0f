"""Commits a second of the ledger, and what it costs of our CPU for each call, beside calls without one.

A model that answers at once is asked with 64 and with 1 calls in flight, in turn straight and through the ledger;
each reply is of 200 words, and counts when it is committed. The goal: >= 5,000 commits a second with 64 in flight.
Also how long it takes to open a ledger of so many replies after a clean end, to look it through after a kill, to
check every row, and to save what is whole of one whose first page is gone.

python -m perf.ledger [CALLS]
"""

import asyncio
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from lpt.models.base import Choice, Message, Model, Reply, Request, Sampling, Usage
from lpt.models.recorded import Recorded
from lpt.settings import ModelSettings
from lpt.store.ledger import Ledger
from lpt.store.rescue import examine, suspect

ROUNDS = 5
TEXT = "word " * 200
SETTINGS = ModelSettings(model="m", url="http://nowhere/v1")


class Instant:
    """Answers at once, after a turn of the event loop."""

    async def ask(self, request: Request) -> Reply:
        """Answer."""
        await asyncio.sleep(0)
        return Reply(choices=(Choice(text=TEXT),), usage=Usage(500, 200, 400), attempts=1, started=1.5, seconds=0.5)


def requests(count: int) -> list[Request]:
    return [
        Request(
            stage="think",
            record=f"{i}",
            messages=(Message("system", "Think first. " * 30), Message("user", f"Question {i}: what is it? " * 10)),
            sampling=Sampling(temperature=0.7, top_p=0.8, max_tokens=1024),
            seed=i,
            n=1,
        )
        for i in range(count)
    ]


async def measure(model: Model, asked: list[Request], in_flight: int) -> tuple[float, float]:
    """Calls a second, and microseconds of CPU for each."""
    waiting = iter(asked)

    async def work() -> None:
        for request in waiting:
            await model.ask(request)

    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return len(asked) / seconds, 1e6 * cpu / len(asked)


async def recorded(folder: Path, asked: list[Request], in_flight: int) -> tuple[float, float]:
    with Ledger(folder / f"{time.monotonic_ns()}.sqlite") as ledger:
        return await measure(Recorded(Instant(), SETTINGS, ledger, asyncio.Event()), asked, in_flight)


async def synced(folder: Path) -> float:
    """Milliseconds that the disk takes to make a small write last."""
    times = []
    with (folder / "sync").open("wb") as file:
        for _ in range(50):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return 1000 * median(times)


def opened(path: Path) -> float:
    began = time.perf_counter()
    with Ledger(path):
        return time.perf_counter() - began


def recovery(folder: Path, asked: list[Request]) -> dict[str, float]:
    """Seconds of what happens seldom."""
    path = folder / "kept.sqlite"

    async def fill() -> None:
        with Ledger(path) as ledger:
            await measure(Recorded(Instant(), SETTINGS, ledger, asyncio.Event()), asked, 64)

    asyncio.run(fill())
    clean = opened(path)
    suspect(path).touch()
    looked_through = opened(path)
    began = time.perf_counter()
    assert examine(path).sound
    checked = time.perf_counter() - began
    shutil.copy(path, folder / "damaged.sqlite")
    with (folder / "damaged.sqlite").open("r+b") as file:
        file.write(bytes(4096))
    return {
        "open_s": clean,
        "open_after_a_kill_s": looked_through,
        "check_s": checked,
        "rescue_s": opened(folder / "damaged.sqlite"),
        "mb": path.stat().st_size / 1e6,
    }


def main() -> None:
    """Print the figures as JSON."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    asked = requests(count)
    figures: dict[str, object] = {"measure": "ledger", "calls": count, "rounds": ROUNDS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures["fsync_ms"] = asyncio.run(synced(folder))
        for in_flight, some in ((64, asked), (1, asked[: count // 10])):
            pairs = [
                (asyncio.run(measure(Instant(), some, in_flight)), asyncio.run(recorded(folder, some, in_flight)))
                for _ in range(ROUNDS)
            ]
            suffix = f"_{in_flight}_in_flight"
            figures[f"commits_per_second{suffix}"] = median(kept[0] for _, kept in pairs)
            figures[f"cpu_us_without{suffix}"] = median(bare[1] for bare, _ in pairs)
            figures[f"cpu_us_with{suffix}"] = median(kept[1] for _, kept in pairs)
        figures["seldom"] = recovery(folder, asked)
    figures["goal"] = ">= 5000 commits a second with 64 in flight"
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
