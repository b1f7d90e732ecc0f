"""How long to wait before asking again: the clock, the backoff, what a server says of it, and what ends a wait."""

import asyncio
import email.utils
import random
import time
from collections.abc import Awaitable

from lpt.errors import Interrupted

_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 60.0


class Clock:
    """Time and chance, in one place so that tests need not wait for either."""

    def now(self) -> float:
        """Seconds that only ever go forward."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def chance(self) -> float:
        """A number in [0, 1), for jitter only: nothing that is made depends on it."""
        return random.random()

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)


class Waiter:
    """Waits between calls. When the run is asked to stop, these waits end at once: what would follow is a new call.

    A call that is out is not waited for here, so it comes home.
    """

    def __init__(self, clock: Clock, stop: asyncio.Event | None = None) -> None:
        self.clock = clock
        self._stop = stop

    @property
    def stopped(self) -> bool:
        """Whether no new call is to be made."""
        return self._stop is not None and self._stop.is_set()

    def go_on(self) -> None:
        """Say whether a new call may be made.

        Raises:
            Interrupted: it may not.
        """
        if self.stopped:
            raise Interrupted("stopped before a new call")

    async def sleep(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            Interrupted: the run is to stop.
        """
        await self._unless_stopped(self.clock.sleep(seconds))

    async def until(self, event: asyncio.Event) -> None:
        """Wait until something happens.

        Raises:
            Interrupted: the run is to stop.
        """
        await self._unless_stopped(event.wait())

    async def _unless_stopped(self, what: Awaitable[object]) -> None:
        if self._stop is None:
            await what
            return
        waiting, stopping = asyncio.ensure_future(what), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((waiting, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            stopping.cancel()
        self.go_on()


def backoff(failures: int, clock: Clock) -> float:
    """Seconds to wait after so many failures: doubling, and spread, so that not all come back at once."""
    # The exponent is bounded: waiting out a 429 may count into the hundreds.
    longest: float = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2 ** min(failures - 1, 16))
    return longest * (0.5 + 0.5 * clock.chance())


def retry_after(header: str | None, clock: Clock) -> float | None:
    """Seconds to wait by a Retry-After header, which holds a number or an HTTP date; None without one."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - clock.wall()
        except (TypeError, ValueError, OverflowError):
            return None
    return max(0.0, seconds) if seconds < float("inf") else None
