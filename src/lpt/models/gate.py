"""A model's gate: so many requests at once, and the oldest image goes first."""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator
from typing import TypeAlias

_Place: TypeAlias = tuple[int, int, asyncio.Future[int], bool]


class Gate:
    """Lets at most `limit` holders in; who waits is served by rank, then by arrival.

    Several servers of one model are several doors, with room for so many behind each. Who waits goes in by their
    own door, where their image is known. A door that has room and nobody waiting lets the others' oldest in; one
    without any room has nobody of its own.
    """

    def __init__(self, limit: int, doors: int = 1) -> None:
        self._limit = limit
        self._room = [limit] * doors
        self._inside = [0] * doors
        self._in_flight = 0
        self._waiting = 0
        self._queues: list[list[_Place]] = [[] for _ in range(doors)]
        self._arrival = itertools.count()

    @property
    def limit(self) -> int:
        """How many may be in at once. Lowering it sends nobody away; raising it lets in who waits."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        if len(self._room) == 1:
            self._room[0] = limit
        self._let_in()

    def set_room(self, door: int, room: int) -> None:
        """Say how many may be in at once by one of the doors."""
        if room != self._room[door]:
            self._room[door] = room
            self._let_in()

    @property
    def in_flight(self) -> int:
        """How many are in."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return self._waiting

    def inside(self, door: int) -> int:
        """How many went in by a door, and are in."""
        return self._inside[door]

    @contextlib.asynccontextmanager
    async def turn(self, rank: int, door: int = 0) -> AsyncIterator[int]:
        """Hold a place while the context lasts, which is given the door; the smallest rank is let in first."""
        door = await self.enter(rank, door)
        try:
            yield door
        finally:
            self.leave(door)

    async def enter(self, rank: int, door: int = 0, *, pinned: bool = False) -> int:
        """Wait for a place; the door by which one is let in, which `leave` is to be told.

        Args:
            rank: the smallest is let in first.
            door: one's own.
            pinned: go in by no other while it has any room.
        """
        if self._in_flight < self._limit and not self._waiting and self._inside[door] < self._room[door]:
            self._take(door)
            return door
        place: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queues[door], (rank, next(self._arrival), place, pinned))
        self._waiting += 1
        self._let_in()
        try:
            return await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._waiting -= 1  # it stays in the queue, where it is passed over
            else:  # let in and cancelled in the same moment: the place is another's
                self.leave(place.result())
            raise

    def leave(self, door: int) -> None:
        """Give a place back."""
        self._in_flight -= 1
        self._inside[door] -= 1
        if self._waiting:
            self._let_in()

    def _take(self, door: int) -> None:
        self._in_flight += 1
        self._inside[door] += 1

    def _let_in(self) -> None:
        while self._waiting and self._in_flight < self._limit:
            doors = [door for door, room in enumerate(self._room) if self._inside[door] < room]
            found = self._next(doors)
            if found is None:
                return
            door, queue = found
            place = heapq.heappop(self._queues[queue])[2]
            self._waiting -= 1
            self._take(door)
            place.set_result(door)

    def _next(self, doors: list[int]) -> tuple[int, int] | None:
        """Who goes in next, as (by which door, out of which queue)."""
        heads = {queue: head for queue in range(len(self._queues)) if (head := self._head(queue))}
        if not doors or not heads:
            return None
        # Those whose door is shut may go by any, as if it were theirs.
        shut = [queue for queue in heads if not self._room[queue]]
        theirs = [(heads[queue][:2], door, queue) for door in doors for queue in {door, *shut} if queue in heads]
        if not theirs:
            theirs = [(head[:2], doors[0], queue) for queue, head in heads.items() if not head[3]]
        if not theirs:
            return None
        _, door, queue = min(theirs, key=lambda one: (one[0], self._inside[one[1]]))
        if queue != door:  # nobody's own: where there is most room
            door = max(doors, key=lambda free: self._room[free] - self._inside[free])
        return door, queue

    def _head(self, queue: int) -> _Place | None:
        waiting = self._queues[queue]
        while waiting and waiting[0][2].done():
            heapq.heappop(waiting)
        return waiting[0] if waiting else None
