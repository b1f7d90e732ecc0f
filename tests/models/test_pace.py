"""Limits a minute: kept in any minute, whatever is asked when."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.errors import Interrupted
from lpt.models.pace import Pace
from lpt.models.patience import Clock, Waiter
from tests.models.conftest import Now, ask, choice, endpoint, good, scripted

CALLS = st.lists(st.tuples(st.floats(0, 30), st.integers(1, 3000), st.integers(1, 4)), min_size=1, max_size=60)


@given(st.integers(1, 600), CALLS)
def test_no_minute_has_more_requests_than_the_limit_and_a_burst(most: int, calls: list[tuple[float, int, int]]):
    async def story() -> list[float]:
        clock = Now()
        pace = Pace(most, 0, Waiter(clock))
        went = []
        for later, _, n in calls:
            clock.at += later
            await pace.take("think", n, 100)
            went.append(clock.at)
        return went

    went = asyncio.run(story())
    burst = max(1.0, most / 12)
    for first in went:
        assert sum(first <= at < first + 60 for at in went) <= most + burst + 1e-6


@given(st.integers(100, 100_000), CALLS)
def test_tokens_are_put_right_by_what_calls_took(most: int, calls: list[tuple[float, int, int]]):
    async def story() -> tuple[float, float, int]:
        clock = Now()
        pace = Pace(0, most, Waiter(clock))
        began, used = clock.at, 0
        for later, tokens, n in calls:
            clock.at += later
            expected = await pace.take("think", n, 10)
            pace.took("think", n, expected, tokens)
            used += tokens
        await pace.take("think", 1, 0)  # what was too much is waited out
        return began, clock.at, used

    began, ended, used = asyncio.run(story())
    largest = max(tokens for _, tokens, _ in calls)
    burst = max(1.0, most / 12)
    assert used <= (ended - began) * most / 60 + burst + largest + 1e-3


async def test_a_model_of_so_many_requests_a_minute_is_asked_no_faster(now: Now):
    began = now.at
    async with (
        scripted(good(choice("fine"))) as server,
        endpoint(server.url, clock=now, requests_per_minute=60) as model,
    ):
        for i in range(35):
            await model.ask(ask(f"{i}"))
    assert now.at - began == pytest.approx(30, abs=0.1), "five at once, then one a second"


async def test_a_stop_ends_the_wait_at_once():
    stop = asyncio.Event()
    async with (
        scripted(good()) as server,
        endpoint(server.url, clock=Clock(), stop=stop, requests_per_minute=1) as model,
    ):
        await model.ask(ask())
        out = asyncio.create_task(model.ask(ask("second")))
        await asyncio.sleep(0)
        stop.set()
        with pytest.raises(Interrupted):
            await asyncio.wait_for(out, 5)
    assert len(server.bodies) == 1
