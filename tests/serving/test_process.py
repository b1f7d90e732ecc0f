"""The server as a process that others start and stop."""

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest

from lpt.errors import UserError
from lpt.serving.app import make_app
from lpt.serving.serve import running
from tests.serving.helpers import body, mirror, said, says

SCRIPT = """
from lpt.serving.app import make_app
from lpt.serving.dials import Dials
from lpt.serving.protocol import Said
from lpt.serving.serve import serve
serve(make_app({"m": lambda ask, seed: Said(f"seed {seed}")}, Dials(faults={"stall": 0.5}, fault_seed=1)))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_line_is_the_url_and_a_signal_ends_it_well(number):
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    server = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        env=buffered,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    leash = threading.Timer(20, server.kill)  # a line that never comes would be waited for for ever
    leash.start()
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        assert url.endswith("/v1")

        async def ask_until_one_stalls() -> None:
            seeds = iter(range(100))
            while True:
                seed = next(seeds)
                try:
                    assert await asyncio.wait_for(said(url, body(seed=seed)), 0.3) == [f"seed {seed}"]
                except asyncio.TimeoutError:
                    return

        asyncio.run(ask_until_one_stalls())
        os.kill(server.pid, number)
        out, err = server.communicate(timeout=5)
        assert (server.returncode, out, err) == (0, "", "")
    finally:
        leash.cancel()
        server.kill()
        server.wait()


async def test_a_port_in_use_is_said_so():
    async with running(make_app({"m": mirror})) as url:
        port = int(url.split(":")[2].removesuffix("/v1"))
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with running(make_app({"m": says("")}), port=port):
                pass
