"""How long to wait before asking again: the clock, the backoff, and what a server says about it."""

import asyncio
import email.utils
import random
import time

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
