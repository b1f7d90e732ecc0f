"""A model's gate: so many requests at once, and the oldest image goes first."""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator


class Gate:
    """Lets at most `limit` holders in; who waits is served by rank, then by arrival."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_flight = 0
        self._waiting = 0
        self._queue: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrival = itertools.count()

    @property
    def limit(self) -> int:
        """How many may be in at once. Lowering it sends nobody away; raising it lets in who waits."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        self._let_in()

    @property
    def in_flight(self) -> int:
        """How many are in."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return self._waiting

    @contextlib.asynccontextmanager
    async def turn(self, rank: int) -> AsyncIterator[None]:
        """Hold a place while the context lasts; the smallest rank is let in first."""
        await self._enter(rank)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, rank: int) -> None:
        if self._in_flight < self._limit and not self._waiting:
            self._in_flight += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (rank, next(self._arrival), place))
        self._waiting += 1
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._waiting -= 1  # it stays in the queue, where it is passed over
            else:  # let in and cancelled in the same moment: the place is another's
                self._leave()
            raise

    def _leave(self) -> None:
        self._in_flight -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._queue and self._in_flight < self._limit:
            _, _, place = heapq.heappop(self._queue)
            if not place.done():
                self._waiting -= 1
                self._in_flight += 1
                place.set_result(None)
