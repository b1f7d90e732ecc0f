"""How many requests at once a server does best with: found by trying, and found again when it changes.

Throughput rises with the requests in flight up to a knee, and from there on only the wait grows. The limit climbs
by doubling until that no longer pays, then holds near the knee and tries a little more and a little less in turn. A
429 or a silence lowers it at once, by a share, and what it lost comes back in small steps.

What is measured is work done per second of a place (by Little's law, times the places in use: throughput), over
windows of completed requests rather than of time, so that a server that takes minutes is learnt about as well as
one that takes milliseconds. Nothing that is made depends on any of it.
"""

import math
from typing import Literal, TypeAlias

import msgspec

START = 16
"""Requests at once to begin with, where nothing is said."""
MOST = 512
"""As far as it climbs by itself: beyond lie other limits, such as open files."""
_OVERHEAD = 32.0
"""What a request costs beside its tokens, in tokens: a server that tells no tokens is measured by requests."""
_PAYS = 1.08
"""What twice the places must bring at least: below it they only wait."""
_LOWER = 0.85
"""What is left of the limit when a server turns us away."""
_CLIMB_LEAST, _HOLD_LEAST = 8, 32
"""Requests that a window has at least."""
_DONE = 0.9
"""Share of a window's requests that end it: its last ones may be very long."""
_ROOM = 1.1
"""A little more than the knee: waiting costs nothing, an idle server does."""
_MORE, _MORE_PAYS, _JUMP = 1.5, 1.04, 1.25
_LESS, _LESS_KEEPS = 0.75, 0.98
_HARMS = 0.9
_SHIFT = 0.75
"""A place that does less than this share of what it did: the server has become slower."""

Phase: TypeAlias = Literal["climb", "descend", "hold", "more", "less"]


class Sent(msgspec.Struct, frozen=True):
    """One request that is out, as the window that it belongs to needs to know it."""

    at: float
    window: int
    """0: of none, because it was sent when places were free."""


class Capacity:
    """The limit of one server."""

    def __init__(self, most: int = MOST, *, fixed: bool = False) -> None:
        """Begin.

        Args:
            most: never more than this.
            fixed: begin with it, and leave it only while the server turns us away.
        """
        self.most = most
        self.limit = most if fixed else min(START, most)
        """Requests that may be out at once."""
        self.speed = 0.0
        """Work (about: tokens) a second with every place taken, as last measured; 0: not yet."""
        self._fixed = fixed
        self._phase: Phase = "hold" if fixed else "climb"
        self._out = 0
        self._home = self.limit  # where trying more or less returns to
        self._before: tuple[int, float] | None = None  # limit and throughput of the step before
        self._held: list[float] = []  # work a second of a place, in the windows at home
        self._tries = 0
        self._less_every = 2
        self._quiet = 0  # windows in which nothing is tried
        self._wary = 1
        self._lowered_at = -math.inf
        self._window = 0
        self._open()

    def sent(self, now: float) -> Sent:
        """A request goes out."""
        self._out += 1
        # Where places are free, how fast they are says nothing of more places.
        if self._marked < self._wanted and (self._fixed or self._out >= 0.85 * self.limit):
            self._marked += 1
            return Sent(now, self._window)
        return Sent(now, 0)

    def came(self, sent: Sent, now: float, tokens: int) -> None:
        """A request was answered.

        Args:
            sent: what `sent` gave.
            now: the time.
            tokens: that were written for it, by the server's count.
        """
        self._out -= 1
        if sent.window != self._window:
            return
        self._came += 1
        self._work += _OVERHEAD + tokens
        self._seconds += max(now - sent.at, 1e-6)
        if self._came >= _DONE * self._wanted:
            self._learn(self._work / self._seconds)

    def failed(self, sent: Sent) -> None:
        """A request came to nothing, for a reason that says nothing of how much is too much."""
        self._out -= 1
        self._marked -= sent.window == self._window

    def turned_away(self, sent: Sent, now: float) -> None:
        """A request was too much: 429, overloaded, or silence. Those that were out together count once."""
        self._out -= 1
        if sent.at <= self._lowered_at:
            self._marked -= sent.window == self._window
            return
        self._lowered_at = now
        # The next try waits longer each time that it was one too many.
        self._wary = min(2 * self._wary, 16)
        self._quiet = self._wary
        self._held.clear()
        self._to("hold", min(math.floor(self.limit * _LOWER), self.limit - 1))

    def _to(self, phase: Phase, limit: int) -> None:
        self._phase = phase
        self.limit = max(1, min(limit, self.most))
        if phase == "hold":
            self._home = self.limit
        self._open()

    def _open(self) -> None:
        """Begin a window: only what is sent from now on tells of the limit that is now."""
        self._window += 1
        if self._phase in ("climb", "descend"):
            self._wanted = max(_CLIMB_LEAST, self.limit)
        else:
            self._wanted = max(_HOLD_LEAST, self.limit)
        self._marked = self._came = 0
        self._work = self._seconds = 0.0

    def _learn(self, place: float) -> None:
        """A window is over, in which a place did so much work a second: say what the next one tries."""
        done = place * self.limit
        self.speed = (self.speed + done) / 2 if self.speed else done
        if self._fixed:
            self._recover()
        elif self._phase == "hold":
            self._hold(place)
        elif self._phase == "climb":
            self._climb(done)
        elif self._phase == "descend":
            self._descend(done)
        else:
            self._tried(done)

    def _recover(self) -> None:
        self._quiet -= 1
        if self._quiet < 0:
            self._wary = max(1, self._wary // 2)
            self._to("hold", self.limit + max(1, self.most // 16))
        else:
            self._open()

    def _climb(self, done: float) -> None:
        before, self._before = self._before, (self.limit, done)
        if before is None:
            self._step_up()
            return
        limit, least = before
        gain = done / least
        if self.limit > limit and gain >= _PAYS:
            self._step_up()
        elif gain < 1.1 and limit == START:  # not even the first step paid: it may have been too many at once
            self._before = (limit, max(done, least))
            self._to("descend", limit // 2)
        else:  # by Little's law the knee lies where the throughput of now meets the pace of before
            self._settle(math.ceil(limit * max(1.0, gain) * _ROOM))

    def _step_up(self) -> None:
        if self.limit == self.most:
            self._settle(self.most)
        else:
            self._to("climb", 2 * self.limit)

    def _descend(self, done: float) -> None:
        assert self._before
        limit, best = self._before
        if done >= 0.9 * best and self.limit > 1:
            self._before = (self.limit, max(done, best))
            self._to("descend", self.limit // 2)
        else:
            knee = self.limit * max(1.0, best / done) if done < 0.9 * best else self.limit
            self._settle(math.ceil(min(limit, knee * _ROOM)))

    def _settle(self, limit: int) -> None:
        self._before = None
        self._held.clear()
        self._to("hold", limit)

    def _hold(self, place: float) -> None:
        """At home: has the server changed? Else try a little more, or a little less, in turn."""
        usual = sum(self._held) / len(self._held) if self._held else place
        if place < _SHIFT * usual:
            self._settle(math.ceil(self.limit * place / usual * _ROOM))
            return
        self._held = [*self._held[-3:], place]
        self._quiet -= 1
        if self._quiet >= 0 or len(self._held) < 2:
            self._open()
            return
        self._tries += 1
        if self._tries % self._less_every == 0 and self.limit > 1:
            self._to("less", min(math.floor(_LESS * self.limit), self.limit - 1))
        elif self._wary > 1:  # it turned us away not long ago: by one share in sixteen
            self._wary //= 2
            self._to("more", self.limit + max(1, self.limit // 16))
        else:
            self._to("more", max(math.ceil(_MORE * self.limit), self.limit + 1))

    def _tried(self, done: float) -> None:
        usual = sum(self._held) / len(self._held) * self._home
        gain = done / usual
        if self._phase == "less":
            if gain > _LESS_KEEPS:
                self._less_every = 2
                self._settle(self.limit)
            else:  # what it costs to find that out, it costs ever more rarely
                self._less_every = min(2 * self._less_every, 8)
                self._to("hold", self._home)
        elif gain > _JUMP:
            self._before = (self.limit, done)
            self._held.clear()
            self._step_up()
        elif gain > 1 + (_MORE_PAYS - 1) * (self.limit / self._home - 1) / (_MORE - 1):
            self._settle(self.limit)
        else:
            if gain < _HARMS:
                self._wary = min(4 * self._wary, 16)
                self._quiet = self._wary
            self._to("hold", self._home)
