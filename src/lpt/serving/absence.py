"""A server that goes away for a while, as one that crashes and is started again."""

import asyncio
from collections.abc import Callable

from aiohttp import web


class Absence:
    """Says when it is time to go: once, after so many requests."""

    def __init__(self, after: int) -> None:
        self._left = after
        self.gone = asyncio.Event()

    def came(self) -> bool:
        """Count a request; True for the one that the server goes away under."""
        self._left -= 1
        if self._left == 0:
            self.gone.set()
        return self._left == 0


async def leave_and_return(
    absence: Absence, runner: web.AppRunner, site: web.TCPSite, again: Callable[[], web.TCPSite], seconds: float
) -> None:
    """Wait until it is time to go, stop listening, break off what is under way, and come back."""
    await absence.gone.wait()
    await site.stop()
    assert runner.server
    for handler in list(runner.server.connections):
        if handler.transport is not None:
            handler.transport.abort()
    await asyncio.sleep(seconds)
    await again().start()
