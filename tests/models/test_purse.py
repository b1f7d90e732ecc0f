"""A run's means: never overrun by more than was foreseeable, never left half used."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.errors import Unaffordable, Unavailable
from lpt.models.base import Choice, Reply, Request, Usage
from lpt.models.patience import Clock
from lpt.models.purse import Means, Paid, Purse
from lpt.records import Caption
from lpt.settings import Price
from tests.scripted import caption, request, settle

PRICE = Price(input=1e6, output=2e6)  # one a token in, two a token out


class Till:
    """A model whose calls are out until they are let go, and take so many tokens."""

    def __init__(self, tokens: int = 10) -> None:
        self.tokens = tokens
        self.waiting: list[asyncio.Future[None]] = []
        self.asked = 0

    async def ask(self, request: Request) -> Reply:
        self.asked += 1
        self.waiting.append(asyncio.get_running_loop().create_future())
        await self.waiting[-1]
        return Reply(choices=(Choice(text="x"),) * request.n, usage=Usage(0, self.tokens * request.n, 0))

    async def let_all_go(self) -> None:
        await settle()
        while self.waiting:
            out, self.waiting = self.waiting, []
            for one in out:
                one.set_result(None)
            await settle()


async def all_of(purse: Purse, till: Till, calls: int, price: Price = PRICE) -> int:
    """Make so many calls at once; how many of them were refused."""
    paid = Paid(till, "m", price, purse)
    tasks = [asyncio.ensure_future(paid.ask(request())) for _ in range(calls)]
    await till.let_all_go()
    came = await asyncio.gather(*tasks, return_exceptions=True)
    return sum(isinstance(one, Unaffordable) for one in came)


async def test_without_a_limit_everything_is_asked() -> None:
    till = Till()
    assert await all_of(Purse(Means()), till, 20) == 0
    assert till.asked == 20


@given(limit=st.integers(1, 300), calls=st.integers(1, 40), each=st.integers(1, 20))
def test_equal_calls_use_all_that_can_be_used_and_no_more(limit: int, calls: int, each: int) -> None:
    async def scenario() -> None:
        purse, till = Purse(Means(tokens=limit)), Till(each)
        refused = await all_of(purse, till, calls)
        # The first call is made whatever it may take: nothing was known of it.
        expected = min(calls, max(1, limit // each))
        assert (till.asked, refused) == (expected, calls - expected)
        assert purse.tokens == expected * each

    asyncio.run(scenario())


async def test_money_is_counted_at_the_models_price() -> None:
    purse, till = Purse(Means(cost=100.0)), Till(10)
    assert await all_of(purse, till, 9) == 4
    assert purse.cost == 100.0
    assert purse.empty == "cost"


async def test_a_call_that_fails_costs_nothing() -> None:
    class Broken:
        async def ask(self, request: Request) -> Reply:
            raise Unavailable("gone", kind="refused")

    purse = Purse(Means(tokens=5))
    for _ in range(3):
        with pytest.raises(Unavailable):
            await Paid(Broken(), "m", PRICE, purse).ask(request())
    assert await all_of(purse, Till(5), 1) == 0


async def test_when_the_time_is_over_nothing_new_is_asked_and_what_is_out_comes_home() -> None:
    class Late(Clock):
        at = 0.0

        def now(self) -> float:
            return self.at

    clock = Late()
    purse, till = Purse(Means(seconds=60), clock), Till()
    paid = Paid(till, "m", PRICE, purse)
    out = asyncio.ensure_future(paid.ask(request()))
    await settle()
    clock.at = 61.0
    with pytest.raises(Unaffordable, match="time"):
        await paid.ask(request())
    await till.let_all_go()
    assert (await out).choices
    assert purse.room(64) == 0


async def test_images_set_out_as_long_as_they_can_be_paid_for_to_the_end() -> None:
    purse = Purse(Means(tokens=100))
    paid = Paid(Till(10), "m", PRICE, purse)

    async def travel(of: Caption, rank: int) -> str:
        for _ in range(2):
            task = asyncio.ensure_future(paid.ask(request(affinity=of.image)))
            await paid._inner.let_all_go()  # type: ignore[attr-defined]
            await task
        return of.id

    way = purse.counts(travel)
    assert purse.room(64) == 4, "a few are tried before anything is known"
    for number in range(5):
        assert purse.room(64) > 0
        await way(caption(str(number)), number)
    assert purse.tokens == 100
    assert purse.room(64) == 0
    assert purse.empty == "tokens"
    assert Purse(Means()).room(64) == 64
