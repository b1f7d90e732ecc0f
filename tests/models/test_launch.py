"""Servers that we start: waited for, watched, and never left behind."""

import asyncio
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from lpt.errors import Down, LptError, UserError
from lpt.models import launch
from lpt.models.fleet import Fleet
from lpt.models.launch import Launched
from lpt.settings import ModelSettings
from tests.models.conftest import ask, texts

LITTLE = f"{shlex.quote(sys.executable)} -S {shlex.quote(str(Path(__file__).with_name('little_server.py')))}"


@contextlib.asynccontextmanager
async def launched(tmp_path: Path, options: str = "--port {port}", timeout: float = 20, grace: float = 5):
    server = Launched(f"{LITTLE} {options}", tmp_path / "logs" / "server.log", timeout, grace=grace)
    try:
        yield server
    finally:
        await server.stop()


def pids(log: Path) -> list[int]:
    """The processes that said who they are."""
    return [int(pid) for pid in re.findall(r"^(?:pid|child) (\d+)$", log.read_text(), re.MULTILINE)]


def alive(pid: int) -> bool:
    # A zombie that nobody has fetched yet is not alive.
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def gone(*processes: int) -> None:
    """Wait until they are; a test that waits in vain fails."""

    async def wait() -> None:
        while any(map(alive, processes)):  # noqa: ASYNC110 - strangers' ends are not announced
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), 10)


async def get(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status


@pytest.mark.parametrize("options", ["--port {port}", "--port {port} --loading 3", "--port {port} --no-health"])
async def test_a_server_is_there_when_it_is_healthy(tmp_path, options):
    async with launched(tmp_path, options) as server:
        url = await server.url()
        assert url.endswith("/v1")
        assert await get(f"{url}/models") == 200
        assert await server.url() == url
        assert len(pids(server.log)) == 1
        assert server.log.read_text().startswith(f"$ {LITTLE} --port {url.split(':')[2].split('/')[0]}")
    await gone(*pids(server.log))


async def test_without_a_port_the_first_line_is_the_url(tmp_path):
    async with launched(tmp_path, "--print-url") as server:
        assert await get(f"{await server.url()}/models") == 200


async def test_those_who_ask_at_once_share_one_start(tmp_path):
    async with launched(tmp_path) as server:
        assert len(set(await asyncio.gather(*(server.url() for _ in range(9))))) == 1
        assert len(pids(server.log)) == 1


async def test_a_server_that_ends_before_it_is_healthy_shows_its_last_words(tmp_path):
    async with launched(tmp_path, "--port {port} --die") as server:
        with pytest.raises(LptError, match=r"ended by itself \(status 3\)") as caught:
            await server.url()
        assert "no such model" in str(caught.value)
        assert "line 99" in str(caught.value)
        assert "line 5\n" not in str(caught.value)
        with pytest.raises(LptError):
            await server.url()
        assert server.log.read_text().count("no such model") == 1, "it is not started over and over"


async def test_a_server_that_never_gets_healthy_is_given_up_and_ended(tmp_path):
    async with launched(tmp_path, "--port {port} --loading 1000", timeout=0.5) as server:
        with pytest.raises(Down, match="launch_timeout"):
            await server.url()
        await gone(*pids(server.log))


async def test_a_port_that_another_took_is_changed_for_another(tmp_path, monkeypatch):
    ports = iter([1, launch._free_port()])
    monkeypatch.setattr(launch, "_free_port", lambda: next(ports))
    async with launched(tmp_path, f"--port {{port}} --taken {tmp_path}/mark") as server:
        url = await server.url()
        assert await get(f"{url}/models") == 200
        assert server.log.read_text().count("$ ") == 2


@pytest.mark.parametrize("command", ["no-such-command-here --port {port}", "", "'unclosed"])
async def test_a_command_that_is_none_is_the_users_to_mend(tmp_path, command):
    with pytest.raises(UserError, match="launch = "):
        await Launched(command, tmp_path / "log", 1).url()


async def test_a_server_that_will_not_listen_is_killed_with_all_that_it_started(tmp_path):
    async with launched(tmp_path, "--port {port} --deaf --child", grace=0.2) as server:
        await server.url()
        found = pids(server.log)
        assert len(found) == 2
        assert all(map(alive, found))
        await server.stop()
    await gone(*found)


async def test_lpt_is_this_very_installation(tmp_path):
    server = Launched("lpt sim --port {port}", tmp_path / "log", 60)
    try:
        assert await get(f"{await server.url()}/models") == 200
    finally:
        await server.stop()
    assert server.log.read_text().startswith(f"$ {sys.executable} -m lpt sim --port")


PARENT = """
import asyncio, sys
from pathlib import Path
from lpt.models.launch import Launched

async def main():
    server = Launched(sys.argv[1], Path(sys.argv[2]), 20, grace=0.2)
    await server.url()
    print("up", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_no_server_outlives_us_however_we_die(tmp_path, number):
    log = tmp_path / "log"
    command = [sys.executable, "-c", PARENT, f"{LITTLE} --port {{port}} --deaf --child", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:  # noqa: ASYNC220 - it says one line
        assert parent.stdout
        assert parent.stdout.readline() == b"up\n"
        found = pids(log)
        assert len(found) == 2
        assert all(map(alive, found))
        os.kill(parent.pid, number)
        parent.wait()
    await gone(*found)


async def test_a_ctrl_c_in_the_terminal_does_not_reach_a_server(tmp_path):
    async with launched(tmp_path) as server:
        await server.url()
        (pid,) = pids(server.log)
        keeper = parent(pid)
        assert keeper != os.getpid()
        assert os.getsid(0) not in (os.getsid(pid), os.getsid(keeper))


# The fleet.


@contextlib.asynccontextmanager
async def fleet(tmp_path: Path, **models: ModelSettings) -> AsyncIterator[Fleet]:
    async with Fleet(models, tmp_path / "logs") as made:
        yield made


async def test_models_of_one_command_share_a_server_that_starts_when_it_is_asked(tmp_path):
    same = f"{LITTLE} --port {{port}}"
    models = {name: ModelSettings(model="m", launch=same) for name in ("asker", "student")}
    async with fleet(tmp_path, **models) as made:
        assert not (tmp_path / "logs").exists(), "nothing starts before it is needed"
        replies = await asyncio.gather(*(made[name].ask(ask()) for name in (*models, *models)))
        (pid,) = pids(tmp_path / "logs" / "asker.log")
        assert [texts(reply) for reply in replies] == [[f"pid {pid}"]] * 4
    await gone(pid)


async def test_a_server_that_dies_under_way_ends_the_run_with_its_last_words(tmp_path):
    model = ModelSettings(model="m", launch=f"{LITTLE} --port {{port}} --die-when-asked", attempts=3)
    began = time.monotonic()
    async with fleet(tmp_path, one=model) as made:
        with pytest.raises(Down, match="out of memory") as caught:
            await made["one"].ask(ask())
    assert caught.value.fatal
    assert time.monotonic() - began < 5, "retrying is of no use"


async def test_no_more_than_so_many_are_in_flight_and_the_oldest_image_goes_first(tmp_path):
    model = ModelSettings(model="m", launch=f"{LITTLE} --port {{port}}", concurrency=2)
    async with fleet(tmp_path, one=model) as made:
        gated = made["one"]
        await gated.ask(ask())
        assert gated.endpoint
        gate = gated.endpoint.replicas.gate
        order: list[int] = []

        async def send(rank: int) -> None:
            await gated.ask(ask(rank=rank))
            order.append(rank)

        first = [asyncio.create_task(send(rank)) for rank in (9, 8)]
        await asyncio.sleep(0)
        rest = [asyncio.create_task(send(rank)) for rank in (7, 1, 5)]
        await asyncio.sleep(0)
        assert (gate.in_flight, gate.waiting) == (2, 3)
        await asyncio.gather(*first, *rest)
        assert order.index(1) < order.index(7)
