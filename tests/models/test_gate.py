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


# Several doors.


async def test_who_waits_goes_in_by_their_own_door_and_a_free_one_takes_the_oldest_of_the_others():
    gate = Gate(100, doors=2)
    gate.set_room(0, 1)
    gate.set_room(1, 1)
    assert [await gate.enter(0, 0), await gate.enter(0, 1)] == [0, 1]
    mine, old, young = (asyncio.ensure_future(gate.enter(rank, door)) for rank, door in ((9, 1), (1, 0), (2, 0)))
    await settle()
    gate.leave(1)
    await settle()
    assert mine.result() == 1, "its own first, though others are older"
    gate.leave(1)
    await settle()
    assert (old.result(), young.done()) == (1, False)
    gate.leave(0)
    await settle()
    assert young.result() == 0


async def test_who_is_pinned_waits_for_its_door_unless_that_is_shut():
    gate = Gate(100, doors=2)
    gate.set_room(0, 1)
    await gate.enter(0, 0)
    pinned = asyncio.ensure_future(gate.enter(0, 0, pinned=True))
    await settle()
    assert not pinned.done()
    gate.set_room(0, 0)
    await settle()
    assert pinned.result() == 1


DOORS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 5), st.integers(0, 2), st.booleans()),
        st.tuples(st.just("leave"), st.integers(0, 30), st.just(0), st.just(False)),
        st.tuples(st.just("cancel"), st.integers(0, 30), st.just(0), st.just(False)),
        st.tuples(st.just("room"), st.integers(0, 4), st.integers(0, 2), st.just(False)),
    ),
    max_size=60,
)


@given(st.integers(1, 6), DOORS)
def test_no_door_lets_in_more_than_it_has_room_for_and_none_is_lost(
    limit: int, steps: list[tuple[str, int, int, bool]]
):
    async def story() -> None:
        gate = Gate(limit, doors=3)
        room, allowed = [limit] * 3, [limit] * 3
        inside: list[int] = []
        waiting: list[asyncio.Task[int]] = []

        def look() -> None:
            for task in [task for task in waiting if task.done()]:
                waiting.remove(task)
                if not task.cancelled():
                    inside.append(task.result())

        for step, number, door, pinned in steps:
            if step == "send":
                waiting.append(asyncio.ensure_future(gate.enter(number, door, pinned=pinned)))
            elif step == "leave" and inside:
                gate.leave(inside.pop(number % len(inside)))
            elif step == "cancel" and waiting:
                waiting[number % len(waiting)].cancel()
            elif step == "room":
                room[door] = number
                allowed[door] = max(allowed[door], number)
                gate.set_room(door, number)
            await settle()
            look()
            assert gate.in_flight == len(inside) <= limit
            assert all(inside.count(door) <= allowed[door] for door in range(3))
            assert gate.waiting == len(waiting)
        for door in range(3):
            gate.set_room(door, 1)
        while waiting:
            await settle()
            look()
            if inside:
                gate.leave(inside.pop())
        assert gate.waiting == 0

    asyncio.run(asyncio.wait_for(story(), 20))
