"""Capacity found and capacity known: throughput of a model that finds its concurrency, beside the best fixed one.

The server is the simulated one in another process, with a capacity that it does not tell: so many replies are
written at once, of random lengths, the others wait in line, or are turned away. The client always has more to ask.

- found: from a cold start, the throughput from the 20th to the 30th second, as a share of the best of a grid of
  fixed concurrencies; the goal is >= 0.95.
- follows: the same after the capacity has halved, and after it has come back, as a share of what the known capacity
  allows then.
- turned away: the same where what is too much gets 429; retries are a share of all requests.

python -m perf.capacity [PLACES]
"""

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from lpt.models.base import Message, Request, Sampling
from lpt.models.endpoint import Endpoint
from lpt.serving.app import make_app
from lpt.serving.dials import Dials
from lpt.serving.protocol import Ask, Said
from lpt.serving.serve import serve
from lpt.settings import ModelSettings

TOKENS_PER_SECOND = 400.0
ASKING = 256
"""Requests that want to be out at any time."""
WARM, MEASURED = 5.0, 10.0


def say(ask: Ask, seed: int) -> Said:
    """A reply of 60 to 400 tokens, by its seed."""
    return Said(" word" * random.Random(seed).randint(60, 400))


@contextlib.contextmanager
def server(**dials: Any) -> Iterator[str]:
    """Run the server as a child; yields its base URL."""
    told = {"tokens_per_second": TOKENS_PER_SECOND, "latency": 0.05, "prefix_cache": False, **dials}
    command = [sys.executable, "-m", "perf.capacity", "serve", json.dumps(told)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout
    try:
        yield child.stdout.readline().strip()
    finally:
        child.terminate()
        child.wait()


class Load:
    """A client that asks as much as it is let, and writes down when tokens came."""

    def __init__(self, url: str, concurrency: Any) -> None:
        self.endpoint = Endpoint(ModelSettings(model="m", url=url, concurrency=concurrency), (url,))
        self.came: list[tuple[float, int]] = []
        self.limits: list[tuple[float, int]] = []
        self._seeds = iter(range(10**9))
        self._began = time.perf_counter()

    async def run(self, seconds: float) -> "Load":
        """Ask for so long."""
        tasks = [asyncio.create_task(self._ask()) for _ in range(ASKING)]
        capacity = self.endpoint.replicas.all[0].capacity
        while (now := time.perf_counter() - self._began) < seconds:
            self.limits.append((now, capacity.limit))
            await asyncio.sleep(0.5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.endpoint.close()
        return self

    async def _ask(self) -> None:
        for seed in self._seeds:
            asked = Request(
                stage="think",
                record=f"{seed}",
                messages=(Message("user", "Look."),),
                sampling=Sampling(temperature=1.0, max_tokens=1024),
                seed=seed,
            )
            reply = await self.endpoint.ask(asked)
            self.came.append((time.perf_counter() - self._began, reply.usage.completion_tokens))

    def rate(self, begin: float, end: float) -> float:
        """Tokens a second."""
        return sum(tokens for at, tokens in self.came if begin <= at < end) / (end - begin)

    def limit(self, begin: float, end: float) -> list[int]:
        """The least and the greatest limit."""
        limits = [limit for at, limit in self.limits if begin <= at < end]
        return [min(limits), max(limits)]


def best(grid: list[int], **dials: Any) -> tuple[float, int]:
    """The best of fixed concurrencies, as (tokens a second, concurrency)."""
    rates = []
    for concurrency in grid:
        with server(**dials) as url:
            load = asyncio.run(Load(url, concurrency).run(WARM + MEASURED))
        rates.append((load.rate(WARM, WARM + MEASURED), concurrency))
    return max(rates)


def main(places: int = 48) -> None:
    """Print the figures as JSON."""
    grid = [places // 3, places // 2, places, places * 3 // 2, places * 2, places * 4]
    queue, at = best(grid, concurrency=places)
    with server(concurrency=places) as url:
        found = asyncio.run(Load(url, "auto").run(30))
    each = queue / 230  # replies a second, about
    halves, returns = int(each * 30), int(each * 30 + each / 2 * 30)
    steps = f"{halves}:{places // 2},{returns}:{places}"
    with server(concurrency=places, concurrency_steps=steps) as url:
        follows = asyncio.run(Load(url, "auto").run(95))
    refusing: dict[str, Any] = {"concurrency": places, "max_waiting": 0}
    refused, _ = best([places * 3 // 4, places], **refusing)
    with server(**refusing) as url:
        away = asyncio.run(Load(url, "auto").run(60))
    stats = away.endpoint.stats
    print(
        json.dumps(
            {
                "measure": "capacity",
                "places": places,
                "best_fixed_tokens_per_second": queue,
                "best_fixed_concurrency": at,
                "ratio": found.rate(20, 30) / queue,
                "limit_found": found.limit(20, 30),
                "retries_found": sum(found.endpoint.stats.retries.values()),
                "ratio_halved": follows.rate(48, 58) / (queue / 2),
                "limit_halved": follows.limit(48, 58),
                "ratio_doubled": follows.rate(80, 95) / queue,
                "limit_doubled": follows.limit(80, 95),
                "ratio_turned_away": away.rate(20, 60) / refused,
                "retries_turned_away": sum(stats.retries.values()) / stats.requests,
                "goal": "ratio >= 0.95",
            }
        )
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(make_app({"m": say}, msgspec.convert(json.loads(sys.argv[2]), Dials)))
    else:
        main(*map(int, sys.argv[1:]))
