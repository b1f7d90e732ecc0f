"""Is the server up? A circuit that opens when it is not, so that nobody asks in vain, and closes by itself.

While it is open, one request now and then is let through to see; what it brings closes the circuit or leaves it
open for twice as long. So it is known, too, which request went unanswered because of the server and not because of
itself: what fails while the server is down is no attempt of its own.
"""

import asyncio
import time

from lpt.errors import ModelError
from lpt.models.patience import Clock, backoff
from lpt.models.trouble import Trouble

_IN_A_ROW = 5
"""Failures in a row that open it where somebody still listens."""
_REQUESTS = 3
"""Different requests among them: one that a server cannot bear is no sign that it is down."""


class Circuit:
    """What is known of one server."""

    def __init__(self, clock: Clock, origin: str = "", known: set[str] | None = None) -> None:
        """Begin, closed.

        Args:
            clock: time and chance.
            origin: scheme, host and port of the server.
            known: origins of servers that have answered, shared by all models of a run.
        """
        self._origin = origin
        self._known = set[str]() if known is None else known
        self.since: float | None = None
        """When it opened; None while it is closed."""
        self.tries = 0
        """Times that it was tried since."""
        self.error: ModelError | None = None
        """What went wrong last."""
        self._clock = clock
        self._since_wall = 0.0
        self._row = 0
        self._victims: set[str] = set()
        self._due = 0.0
        self._probing = False
        self._changed = asyncio.Event()

    @property
    def reached(self) -> bool:
        """Whether it ever answered. What never did is more likely a wrong URL than a server that went away."""
        return self._origin in self._known

    @reached.setter
    def reached(self, reached: bool) -> None:
        if reached:
            self._known.add(self._origin)

    @property
    def open(self) -> bool:
        """Whether the server is down."""
        return self.since is not None

    @property
    def shaky(self) -> bool:
        """Whether the last request went unanswered."""
        return self._row > 0

    @property
    def due(self) -> bool:
        """Whether it may be tried now."""
        return self.since is not None and not self._probing and self._clock.now() >= self._due

    @property
    def wait(self) -> float:
        """Seconds until it is tried again."""
        return max(0.0, self._due - self._clock.now())

    @property
    def lasted(self) -> float:
        """Seconds that it has been open."""
        return 0.0 if self.since is None else self._clock.now() - self.since

    @property
    def since_when(self) -> str:
        """When it opened, as a person reads it off a clock."""
        return time.strftime("%H:%M", time.localtime(self._since_wall))

    @property
    def changed(self) -> asyncio.Event | None:
        """Set when the one that tries comes back; None while nobody does."""
        return self._changed if self._probing else None

    def probe(self) -> None:
        """A request goes out to see."""
        self._probing = True

    def came_back(self) -> None:
        """The one that went out to see is back, whatever it brings."""
        self._probing = False
        self._changed.set()
        self._changed = asyncio.Event()

    def answered(self) -> None:
        """The server answered, if only to refuse: it is up."""
        self.reached = True
        self._row = 0
        if self._victims:
            self._victims.clear()
        self.since = None
        self.tries = 0

    def failed(self, trouble: Trouble, who: str) -> None:
        """A request went unanswered.

        Args:
            trouble: what went wrong.
            who: which request it was.
        """
        self.error = trouble.error
        if self.since is not None:
            # Of many that were out together only the first counts.
            if self._clock.now() >= self._due:
                self.tries += 1
                self._due = self._clock.now() + backoff(self.tries + 1, self._clock)
            return
        self._row += 1
        self._victims.add(who)
        if trouble.unreachable or (self._row >= _IN_A_ROW and len(self._victims) >= _REQUESTS):
            self.since = self._clock.now()
            self._since_wall = self._clock.wall()
            self._due = self.since + backoff(1, self._clock)
