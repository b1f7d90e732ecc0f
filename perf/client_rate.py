"""Requests a second of a model, ledger and all, beside a bare aiohttp loop that sends the same bodies, made before.

And beside the openai package, which sends the same messages with its own client, without a ledger or retries.

Both talk to the same server in another process, which answers anything after 20 ms; 64 requests are in flight, each
with an image of 60 KB. They take turns, so that a machine that slows down slows both. The goal with the ledger on,
every reply committed before it counts, is >= 0.7.

python -m perf.client_rate [REQUESTS]
"""

import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import aiohttp
import msgspec
from openai import AsyncOpenAI

from lpt.models.base import Image, Message, Request, Sampling
from lpt.models.dialects import Way, body
from lpt.models.endpoint import Endpoint
from lpt.models.recorded import Recorded
from lpt.settings import ModelSettings
from lpt.store.ledger import Ledger

LATENCY = 0.02
IN_FLIGHT = 64
IMAGE_BYTES = 60_000
QUESTIONS = 8
"""Requests that show the same image."""
ROUNDS = 5

_REPLY = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "word " * 200}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 500, "completion_tokens": 200, "total_tokens": 700},
    }
).encode()
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_REPLY) + _REPLY


class Server(asyncio.Protocol):
    """Answers whatever it is sent, and does as little as possible: the client is what is measured."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.head = b""
        self.left = 0

    def data_received(self, data: bytes) -> None:
        """Answer once the whole request is here; a client of ours sends no other before."""
        if not self.left:
            self.head += data
            head, end, rest = self.head.partition(b"\r\n\r\n")
            if not end:
                return
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            self.head, self.left, data = b"", length, rest
        self.left -= len(data)
        if not self.left:
            asyncio.get_running_loop().call_later(LATENCY, self.transport.write, _ANSWER)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def requests(count: int) -> list[Request]:
    noise = random.Random(0)
    images = [Image(key=f"{i}", data=noise.randbytes(IMAGE_BYTES)) for i in range(-(-count // QUESTIONS))]
    return [
        Request(
            stage="think",
            record=f"{i}",
            messages=(
                Message("system", "Think first. " * 30),
                Message("user", f"Question {i}: what is it? " * 10, (images[i // QUESTIONS],)),
            ),
            sampling=Sampling(temperature=0.7, top_p=0.8, max_tokens=1024),
            seed=i,
            n=1,
        )
        for i in range(count)
    ]


async def measure(count: int, ask: Callable[[int], Awaitable[None]]) -> tuple[float, float]:
    """Requests a second, and milliseconds of our CPU for each, with `IN_FLIGHT` workers."""
    numbers = iter(range(count))

    async def work() -> None:
        for i in numbers:
            await ask(i)

    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return count / seconds, 1000 * cpu / count


async def compare(port: int, count: int) -> dict[str, object]:
    settings = ModelSettings(model="m", url=f"http://127.0.0.1:{port}/v1", prefill="continue")
    asked = requests(count)
    made = [msgspec.json.encode(body(request, settings, Way("continue"), None, "m")[1]) for request in asked]
    url = f"{settings.url}/chat/completions"
    endpoint = Endpoint(settings, (str(settings.url),), name="m")
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:

        async def bare(i: int) -> None:
            async with session.post(url, data=made[i]) as response:
                await response.read()

        async def ours(i: int) -> None:
            await endpoint.ask(asked[i])

        async def kept() -> tuple[float, float]:
            # A ledger of its own for each round: what is known would not be asked.
            with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
                model = Recorded(endpoint, settings, ledger, asyncio.Event())

                async def recorded(i: int) -> None:
                    await model.ask(asked[i])

                return await measure(count, recorded)

        official = AsyncOpenAI(base_url=str(settings.url), api_key="none", max_retries=0, timeout=60)
        decoded = [msgspec.json.decode(one) for one in made[: count // 4]]

        async def sdk(i: int) -> None:
            known = {key: decoded[i].pop(key) for key in ("model", "messages") if key in decoded[i]}
            await official.chat.completions.create(**known, extra_body=decoded[i])
            decoded[i].update(known)

        await measure(count // 4, bare)
        await measure(count // 4, ours)
        rounds = [
            (
                await measure(count, bare),
                await measure(count, ours),
                await kept(),
                await measure(count // 4, sdk),  # it is slow
            )
            for _ in range(ROUNDS)
        ]
    await endpoint.close()
    await official.close()
    rates = [[side[0] for side in pair] for pair in rounds]
    cpu = [[side[1] for side in pair] for pair in rounds]
    return {
        "measure": "client_rate",
        "requests": count,
        "rounds": ROUNDS,
        "body_bytes": len(made[0]),
        "in_flight": IN_FLIGHT,
        "bare_per_second": median(pair[0] for pair in rates),
        "endpoint_per_second": median(pair[1] for pair in rates),
        "recorded_per_second": median(pair[2] for pair in rates),
        "openai_per_second": median(pair[3] for pair in rates),
        "ratio_without_ledger": median(pair[1] / pair[0] for pair in rates),
        "ratio": median(pair[2] / pair[0] for pair in rates),
        "ratio_openai": median(pair[3] / pair[0] for pair in rates),
        "bare_cpu_ms": median(pair[0] for pair in cpu),
        "endpoint_cpu_ms": median(pair[1] for pair in cpu),
        "recorded_cpu_ms": median(pair[2] for pair in cpu),
        "openai_cpu_ms": median(pair[3] for pair in cpu),
        "goal": ">= 0.7",
    }


def main() -> None:
    """Print the figures as JSON."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    child = subprocess.Popen([sys.executable, "-m", "perf.client_rate", "serve"], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    try:
        print(json.dumps(asyncio.run(compare(int(child.stdout.readline()), count))))
    finally:
        child.terminate()
        child.wait()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    else:
        main()
