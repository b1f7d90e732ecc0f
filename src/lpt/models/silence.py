"""The limit on silence: how long nothing may be heard before a request is given up, however long its reply takes.

A reply that does not come in pieces is silent until all of it is written, which takes a slow server many minutes.
So a silence says nothing by itself before the reply begins: then the server is looked at, not the request. While it
answers others, or at least says which models it has, a request is waited for: for `_FIRST` times the limit where no
reply has come yet, and for `_LONGER` times as long as the slowest of them took where some have. Within a reply the
limit holds as it stands, since bytes follow one another.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType

from lpt.models.replicas import Replica

_FIRST = 12.0
_LONGER = 4.0
_LOOKS = 4
"""Looks in the time of the limit."""
_SELDOM = 15.0
"""Seconds between two looks at most."""


class Out:
    """One request that is out; a context around it.

    Entering and leaving it costs next to nothing: one timer looks at all that are out.
    """

    __slots__ = ("_expired", "_silence", "_task", "begun", "heard_at", "replica", "sent_at")

    def __init__(self, silence: "Silence", replica: Replica) -> None:
        self._silence = silence
        self._expired = False
        self.replica = replica
        self.begun = False
        """Whether the reply has begun."""

    def __enter__(self) -> "Out":
        task = asyncio.current_task()
        assert task
        self._task = task
        self.sent_at = self.heard_at = self._silence.now()
        self._silence.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._silence.leave(self)
        if self._expired and kind is asyncio.CancelledError:
            uncancel = getattr(self._task, "uncancel", None)  # from 3.11 on: tells our cancelling from others'
            if uncancel is None or not uncancel():
                raise asyncio.TimeoutError from None

    def hear(self) -> None:
        """Bytes came."""
        self.heard_at = self.replica.heard_at = self._silence.now()
        if not self.begun:
            self.begun = True
            self._silence.longest = max(self._silence.longest, self.heard_at - self.sent_at)

    def expire(self) -> None:
        """End it: it is waited for no longer."""
        if not self._expired:
            self._expired = True
            self._task.cancel()


class Silence:
    """Looks at all requests of one model that are out."""

    def __init__(self, limit: float, alive: Callable[[Replica], Awaitable[bool]]) -> None:
        """Begin.

        Args:
            limit: seconds.
            alive: asks a server whether it is there.
        """
        self.longest = 0.0
        """Seconds that a reply took to begin, at most so far."""
        self._limit = limit
        self._alive = alive
        self._out: dict[Out, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looking: dict[Replica, asyncio.Task[None]] = {}

    def over(self, replica: Replica) -> Out:
        """Watch over a request to a server, as a context. It raises asyncio.TimeoutError."""
        return Out(self, replica)

    def now(self) -> float:
        """The event loop's time: the clock of tests may stand still or jump."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop.time()

    def enter(self, out: Out) -> None:
        """A request goes out."""
        self._out[out] = None
        if self._timer is None:
            self._wind()

    def leave(self, out: Out) -> None:
        """It is back."""
        del self._out[out]

    def close(self) -> None:
        """Look no more."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        for task in self._looking.values():
            task.cancel()

    def _wind(self) -> None:
        self.now()
        assert self._loop
        self._timer = self._loop.call_later(min(self._limit / _LOOKS, _SELDOM), self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._out:
            return
        self._wind()
        now = self.now()
        bound = max(_FIRST * self._limit, _LONGER * self.longest)
        for out in self._out:
            if now - out.heard_at < self._limit:
                continue
            if out.begun or now - out.sent_at >= bound:
                out.expire()
            elif now - out.replica.heard_at >= self._limit and out.replica not in self._looking:
                self._looking[out.replica] = asyncio.ensure_future(self._see(out.replica))

    async def _see(self, replica: Replica) -> None:
        """Ask a server that has been silent altogether whether it is there; if it is not, all wait in vain."""
        try:
            if await self._alive(replica):
                replica.heard_at = self.now()
                return
            now = self.now()
            for out in list(self._out):
                if out.replica is replica and not out.begun and now - out.heard_at >= self._limit:
                    out.expire()
        finally:
            self._looking.pop(replica, None)
