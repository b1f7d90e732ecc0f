"""Servers that we start ourselves: a command with a port, waited for until it is healthy, stopped with the run."""

import asyncio
import contextlib
import ctypes
import os
import shlex
import signal
import socket
import sys
from pathlib import Path

import aiohttp

from lpt.errors import LptError, UserError

_POLL_SECONDS = 0.05
_GRACE_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Launched:
    """A server as a child process."""

    def __init__(self, command: str, log: Path, timeout: float) -> None:
        self.command = command
        self.log = log
        self._timeout = timeout
        self._child: asyncio.subprocess.Process | None = None
        self._url: str | None = None
        self._starting = asyncio.Lock()

    async def url(self) -> str:
        """Start it if it does not run yet, wait until it answers; its base URL, ending in /v1.

        Raises:
            LptError: it ended, or was not healthy in time: with the last lines of its log.
            UserError: there is no such command.
        """
        async with self._starting:
            if self._url is None:
                self._url = await self._start()
            return self._url

    async def _start(self) -> str:
        port = _free_port()
        arguments = shlex.split(self.command.replace("{port}", str(port)))
        if arguments[0] == "lpt":
            arguments[:1] = [sys.executable, "-m", "lpt"]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.log.open("ab") as log:
                self._child = await asyncio.create_subprocess_exec(
                    *arguments,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # a Ctrl-C in the terminal is ours to pass on, when we are done with it
                    preexec_fn=_die_with_parent,
                )
        except FileNotFoundError:
            raise UserError(
                f'there is no command "{arguments[0]}", which launch = "{self.command}" asks for'
            ) from None
        url = f"http://127.0.0.1:{port}"
        try:
            await asyncio.wait_for(self._healthy(url), self._timeout)
        except asyncio.TimeoutError:
            await self.stop()
            raise LptError(
                f'the server of launch = "{self.command}" was not healthy after {self._timeout:.0f} s'
                f" (launch_timeout). The end of its log, {self.log}:\n{self._tail()}"
            ) from None
        return f"{url}/v1"

    async def _healthy(self, url: str) -> None:
        assert self._child
        async with aiohttp.ClientSession() as session:
            while True:
                if self._child.returncode is not None:
                    raise LptError(
                        f'the server of launch = "{self.command}" ended with status {self._child.returncode} '
                        f"before it was healthy. The end of its log, {self.log}:\n{self._tail()}"
                    )
                for path in ("/health", "/v1/models"):
                    with contextlib.suppress(aiohttp.ClientError, OSError):
                        async with session.get(url + path) as response:
                            if response.status == 200:
                                return
                await asyncio.sleep(_POLL_SECONDS)

    def _tail(self, lines: int = 12) -> str:
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])

    async def stop(self) -> None:
        """End it and all that it started: kindly first."""
        child = self._child
        if child is None or child.returncode is not None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(child.pid, number)
            except ProcessLookupError:
                break
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(child.wait(), _GRACE_SECONDS)
                return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    """A run that is killed takes its servers along: nothing else would stop them (Linux)."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
