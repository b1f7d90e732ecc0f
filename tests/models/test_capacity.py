"""How many requests at once: against servers of known capacity, in a time that is counted and not waited for."""

import heapq
import itertools
import math
import random
from collections import deque
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.models.capacity import START, Capacity, Sent

Kind = Literal["queue", "batch", "refuses", "thrashes"]


class Fixed(Capacity):
    """A limit that nothing moves."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, fixed=True)

    def _learn(self, place: float) -> None:
        self._open()

    def turned_away(self, sent: Sent, now: float) -> None:
        self.failed(sent)


class World:
    """A server and a client that always has more to ask: replies of random lengths, in simulated time.

    queue: so many replies are written at once, the others wait. batch: the more at once, the slower each. refuses:
    what is too much is turned away, and the client pauses. thrashes: past its capacity it gets slower altogether.
    """

    def __init__(self, capacity: Capacity, kind: Kind, places: int, seed: int = 0, mean: float = 1.0) -> None:
        self.capacity, self.kind, self.places, self.mean = capacity, kind, places, mean
        self.now = 0.0
        self.refused = self.running = self.out = 0
        self.tokens: list[tuple[float, int]] = []
        self._chance = random.Random(seed)
        self._events: list[tuple[float, int, str, Sent | None, int]] = []
        self._line: deque[tuple[Sent, int]] = deque()
        self._count = itertools.count()
        self._paused = 0.0

    def run(self, until: float) -> None:
        self._send()
        while self._events and self._events[0][0] < until:
            self.now, _, what, sent, tokens = heapq.heappop(self._events)
            if sent is not None:
                self.out -= 1
                if what == "refused":
                    self.refused += 1
                    self.capacity.turned_away(sent, self.now)
                    self._paused = self.now + 0.5
                    self._later(0.5, "go on", None, 0)
                else:
                    self.running -= 1
                    self.capacity.came(sent, self.now, tokens)
                    self.tokens.append((self.now, tokens))
                    while self._line and self.running < self.places:
                        self._begin(*self._line.popleft())
            self._send()
        self.now = until

    def rate(self, begin: float, end: float) -> float:
        return sum(tokens for at, tokens in self.tokens if begin <= at < end) / (end - begin)

    def _send(self) -> None:
        while self.out < self.capacity.limit and self.now >= self._paused:
            sent, tokens = self.capacity.sent(self.now), int(self._chance.lognormvariate(math.log(400), 0.5)) + 1
            self.out += 1
            if self.running < self.places:
                self._begin(sent, tokens)
            elif self.kind == "refuses":
                self._later(0.01, "refused", sent, 0)
            else:
                self._line.append((sent, tokens))

    def _begin(self, sent: Sent, tokens: int) -> None:
        self.running += 1
        pace = self.mean / 450
        if self.kind == "batch":
            pace *= 1 + 0.02 * (self.running - 1)
        if self.kind == "thrashes" and self.running > 0.6 * self.places:
            pace *= 1 + 3 * (self.running / self.places) ** 4
        self._later(0.1 * self.mean + tokens * pace, "came", sent, tokens)

    def _later(self, seconds: float, what: str, sent: Sent | None, tokens: int) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._count), what, sent, tokens))


def best(kind: Kind, places: int, mean: float = 1.0) -> float:
    """Tokens a second of the best fixed limit."""
    rates = []
    for limit in (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256):
        world = World(Fixed(limit), kind, places, mean=mean)
        world.run(40 * mean)
        rates.append(world.rate(15 * mean, 40 * mean))
    return max(rates)


@pytest.mark.parametrize(
    ("kind", "places"), [("queue", 4), ("queue", 16), ("queue", 100), ("batch", 256), ("thrashes", 100)]
)
def test_it_comes_to_what_the_best_fixed_limit_does(kind: Kind, places: int):
    world = World(Capacity(), kind, places, seed=1)
    world.run(120)
    assert world.rate(30, 120) >= 0.93 * best(kind, places)
    if kind == "queue":
        assert world.rate(15, 30) >= 0.9 * best(kind, places), "and soon"
        assert world.capacity.limit <= 5 * max(places, START), "most of what is out does not wait in line"


def test_a_server_that_takes_minutes_is_learnt_about_as_one_that_takes_a_second():
    slow = World(Capacity(), "queue", 50, seed=2, mean=100.0)
    slow.run(3000)
    assert slow.rate(1500, 3000) >= 0.95 * best("queue", 50, 100.0)


def test_a_server_that_turns_away_is_neither_stormed_nor_starved():
    world = World(Capacity(), "refuses", 50, seed=1)
    world.run(300)
    assert world.rate(30, 300) >= 0.9 * best("refuses", 50)
    assert world.refused < 0.03 * len(world.tokens)


def test_it_follows_when_the_capacity_halves_and_doubles():
    world = World(Capacity(), "queue", 60, seed=3)
    world.run(40)
    full, before = world.rate(20, 40), world.capacity.limit
    world.places = 30
    world.run(80)
    assert world.capacity.limit < 0.75 * before
    assert world.rate(60, 80) >= 0.47 * full, "half the server, used whole"
    world.places = 120
    world.run(160)
    assert world.rate(130, 160) >= 1.9 * full


def test_without_enough_to_ask_nothing_is_learnt():
    capacity = Capacity()
    for i in range(500):
        capacity.came(capacity.sent(float(i)), i + 1.0, 100)
    assert capacity.limit == START


def test_a_fixed_limit_is_left_only_while_the_server_turns_away():
    world = World(Capacity(60, fixed=True), "refuses", 40, seed=1)
    world.run(2)
    assert world.capacity.limit < 60
    world.places = 100
    world.run(120)
    assert world.capacity.limit == 60


def test_those_that_were_out_together_count_once():
    capacity = Capacity(100, fixed=True)
    out = [capacity.sent(1.0) for _ in range(100)]
    for sent in out:
        capacity.turned_away(sent, 2.0)
    assert capacity.limit == 85


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["sent", "came", "failed", "turned away"]),
        st.integers(0, 10_000),
        st.floats(0, 1000, allow_nan=False),
    ),
    max_size=300,
)


@given(st.integers(1, 600), st.booleans(), STEPS)
def test_the_limit_is_never_below_one_nor_above_the_most(
    most: int, fixed: bool, steps: list[tuple[str, int, float]]
):
    capacity = Capacity(most, fixed=fixed)
    out: list[Sent] = []
    now = 0.0
    for what, number, seconds in steps:
        now += seconds
        if what == "sent" or not out:
            out += [capacity.sent(now) for _ in range(number % 50 + 1)]
            continue
        sent = out.pop(number % len(out))
        if what == "came":
            capacity.came(sent, now, number)
        elif what == "failed":
            capacity.failed(sent)
        else:
            capacity.turned_away(sent, now)
        assert 1 <= capacity.limit <= most
