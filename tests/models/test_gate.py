"""The gate: never more than its limit, the smallest rank first, and no place is ever lost."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.models.gate import Gate


async def settle() -> None:
    """Let everyone get as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


class Visitors:
    """Tasks that go in, stay until they are told to leave, and write down who came in when."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.entered: list[int] = []
        self.inside: dict[int, asyncio.Event] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}

    def send(self, who: int, rank: int) -> None:
        async def visit() -> None:
            async with self.gate.turn(rank):
                self.entered.append(who)
                self.inside[who] = asyncio.Event()
                try:
                    await self.inside[who].wait()
                finally:
                    del self.inside[who]

        self.tasks[who] = asyncio.create_task(visit())

    async def end(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


async def test_who_waits_is_served_by_rank_then_by_arrival():
    visitors = Visitors(Gate(1))
    for who, rank in enumerate([5, 3, 1, 3, 0]):
        visitors.send(who, rank)
        await settle()
    assert (visitors.gate.in_flight, visitors.gate.waiting) == (1, 4)
    for _ in range(5):
        next(iter(visitors.inside.values())).set()
        await settle()
    assert visitors.entered == [0, 4, 2, 1, 3]
    assert (visitors.gate.in_flight, visitors.gate.waiting) == (0, 0)


async def test_a_place_given_to_one_who_is_cancelled_at_that_moment_goes_to_the_next():
    visitors = Visitors(Gate(1))
    for who in range(3):
        visitors.send(who, who)
        await settle()
    visitors.inside[0].set()
    while visitors.inside:  # noqa: ASYNC110 - the first has left, and the second does not know yet
        await asyncio.sleep(0)
    visitors.tasks[1].cancel()
    await settle()
    assert visitors.entered == [0, 2]
    await visitors.end()
    assert visitors.gate.in_flight == 0


async def test_the_limit_can_be_moved():
    visitors = Visitors(Gate(1))
    for who in range(5):
        visitors.send(who, 0)
    await settle()
    visitors.gate.limit = 3
    await settle()
    assert visitors.entered == [0, 1, 2]
    visitors.gate.limit = 1
    for who in (0, 1):
        visitors.inside[who].set()
        await settle()
    assert visitors.entered == [0, 1, 2], "a lower limit lets nobody in until it is kept"
    await visitors.end()


async def test_an_error_inside_gives_the_place_back():
    gate = Gate(1)
    with pytest.raises(ZeroDivisionError):
        async with gate.turn(0):
            _ = 1 / 0
    assert gate.in_flight == 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 3)),
        st.tuples(st.just("leave"), st.integers(0, 30)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("limit"), st.integers(1, 4)),
        st.tuples(st.just("settle"), st.just(0)),
    ),
    max_size=60,
)


@given(st.integers(1, 4), STEPS)
def test_no_place_is_lost_or_made_whoever_leaves_when(limit: int, steps: list[tuple[str, int]]):
    async def story() -> None:
        visitors = Visitors(Gate(limit))
        most = limit
        for who, (step, number) in enumerate(steps):
            if step == "send":
                visitors.send(who, number)
            elif step == "leave" and visitors.inside:
                list(visitors.inside.values())[number % len(visitors.inside)].set()
            elif step == "cancel" and visitors.tasks:
                list(visitors.tasks.values())[number % len(visitors.tasks)].cancel()
            elif step == "limit":
                visitors.gate.limit = number
                most = max(most, number)
            else:
                await settle()
            assert len(visitors.inside) <= most
            assert visitors.gate.in_flight <= most
        await settle()
        gate = visitors.gate
        unfinished = sum(not task.done() for task in visitors.tasks.values())
        assert gate.in_flight == len(visitors.inside)
        assert gate.waiting == unfinished - len(visitors.inside)
        assert gate.waiting == 0 or gate.in_flight >= gate.limit, "nobody waits beside a free place"
        await visitors.end()
        assert (gate.in_flight, gate.waiting) == (0, 0)

    asyncio.run(story())
