"""How many choices of one model are written at once, and who waits in line."""

import asyncio
from collections import deque
from types import TracebackType

from lpt.errors import UserError


def parse_steps(text: str) -> list[tuple[int, int]]:
    """Read `500:32,1500:64` as (choices written, choices at once), in order.

    Raises:
        UserError: it is written otherwise.
    """
    try:
        steps = [(int(after), int(most)) for after, most in (item.split(":") for item in text.split(",") if item)]
    except ValueError:
        steps = [(-1, 0)]
    if any(after < 0 or most < 1 for after, most in steps):
        raise UserError(f"concurrency_steps is written CHOICES:CONCURRENCY,…, as in 500:32,1500:64, not {text!r}")
    return sorted(steps)


class Room:
    """Places, first come, first served; how many may change as choices are written. A context holds one."""

    def __init__(self, places: int, steps: list[tuple[int, int]]) -> None:
        """Open it.

        Args:
            places: choices at once; 0: any number.
            steps: after so many choices, so many at once.
        """
        self.running = 0
        self._places = places
        self._steps = deque(steps)
        self._written = 0
        self._line: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """Choices that wait in line."""
        return sum(not place.done() for place in self._line)

    @property
    def free(self) -> bool:
        """Whether a choice that came now would be written at once."""
        return not self._places or (self.running < self._places and not self.waiting)

    async def __aenter__(self) -> None:
        if self.free:
            self.running += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # let in at that very moment
                self._leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._written += 1
        while self._steps and self._written >= self._steps[0][0]:
            self._places = self._steps.popleft()[1]
        self._leave()

    def _leave(self) -> None:
        self.running -= 1
        while self._line and (not self._places or self.running < self._places):
            place = self._line.popleft()
            if not place.done():
                self.running += 1
                place.set_result(None)
