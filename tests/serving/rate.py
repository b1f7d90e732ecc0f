"""How many requests a second the server answers when its responder takes no time; run by hand.

python -m tests.serving.rate [words in the prompt] [n]    (server on CPU 0, client on CPU 1, 32 connections)
"""

import asyncio
import json
import os
import subprocess
import sys
from time import perf_counter

from tests.serving.helpers import Wire

SCRIPT = """
import os
from lpt.serving.app import make_app
from lpt.serving.protocol import Said
from lpt.serving.serve import serve
os.sched_setaffinity(0, {0})
serve(make_app({"m": lambda ask, seed: Said("The answer is (A).")}))
"""


async def ask(url: str, body: bytes, times: int) -> None:
    """One connection, one request after the other."""
    wire = await Wire.send(url, body, connection="keep-alive")
    for left in range(times, 0, -1):
        status, headers = await wire.head()
        assert status == 200
        await wire.reader.readexactly(int(headers["content-length"]))
        if left > 1:
            wire.again()
    wire.close()


async def load(url: str, body: bytes, times: int) -> float:
    """Requests a second over 32 connections."""
    start = perf_counter()
    await asyncio.gather(*(ask(url, body, times) for _ in range(32)))
    return 32 * times / (perf_counter() - start)


def main(words: int = 10, n: int = 1) -> None:
    server = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    os.sched_setaffinity(0, {1})
    try:
        url = server.stdout.readline().strip()
        asked = {"model": "m", "seed": 1, "n": n, "messages": [{"role": "user", "content": "word " * words}]}
        asyncio.run(load(url, json.dumps(asked).encode(), 30))  # to warm up
        rate = asyncio.run(load(url, json.dumps(asked).encode(), 400))
        print(f"{words} words, n = {n}: {rate:.0f} requests/s")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
