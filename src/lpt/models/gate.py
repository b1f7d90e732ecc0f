"""A model's gate: so many requests at once, and the oldest image goes first."""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator


class Gate:
    """Lets at most `limit` holders in; who waits is served by rank, then by arrival."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrival = itertools.count()

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return sum(not entry.done() for _, _, entry in self._waiting)

    @contextlib.asynccontextmanager
    async def turn(self, rank: int) -> AsyncIterator[None]:
        """Hold a place while the context lasts."""
        await self._enter(rank)
        try:
            yield
        finally:
            self.in_flight -= 1
            self._let_in()

    async def _enter(self, rank: int) -> None:
        if self.in_flight < self.limit and not self._waiting:
            self.in_flight += 1
            return
        entry: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._arrival), entry))
        try:
            await entry
        except asyncio.CancelledError:
            if entry.done() and not entry.cancelled():  # let in and cancelled in the same moment: hand it on
                self.in_flight -= 1
                self._let_in()
            raise

    def _let_in(self) -> None:
        while self._waiting and self.in_flight < self.limit:
            _, _, entry = heapq.heappop(self._waiting)
            if not entry.done():
                self.in_flight += 1
                entry.set_result(None)
