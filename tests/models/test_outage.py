"""A server that goes away: the run waits, says so, and goes on by itself, or stops when it is told to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from lpt.errors import Down, Interrupted, ModelError, Unavailable
from lpt.models.endpoint import Endpoint
from lpt.models.patience import Clock
from lpt.serving.app import STATS, make_app
from lpt.serving.dials import Dials
from lpt.serving.serve import running
from lpt.settings import ModelSettings
from tests.models.conftest import Now, ask, bad, endpoint, good, scripted, simulated, texts
from tests.serving.helpers import says, until


class Story(Now):
    """Time in which things happen: at their moment, before whoever sleeps over it wakes."""

    def __init__(self) -> None:
        super().__init__()
        self.happens: list[tuple[float, Callable[[], Awaitable[None]]]] = []

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        while self.happens and self.at >= self.happens[0][0]:
            await self.happens.pop(0)[1]()


class Server:
    """A server that goes and comes back at the same address."""

    def __init__(self) -> None:
        self._up = contextlib.AsyncExitStack()
        self.port = 0
        self.url = ""
        self.app = make_app({"m": says("fine")}, Dials())

    async def start(self) -> None:
        self.app = make_app({"m": says("fine")}, Dials())
        self.url = await self._up.enter_async_context(running(self.app, port=self.port))
        self.port = int(self.url.split(":")[2].split("/")[0])

    async def stop(self) -> None:
        await self._up.aclose()
        self._up = contextlib.AsyncExitStack()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    await made.start()
    yield made
    await made.stop()


async def test_it_is_waited_for_without_costing_an_attempt_and_the_run_is_told(server: Server):
    clock, told = Story(), list[str]()
    async with endpoint(server.url, clock=clock, attempts=1, concurrency=4, say=told.append) as model:
        await model.ask(ask())
        await server.stop()
        clock.happens.append((clock.at + 200, server.start))
        replies = await asyncio.gather(*(model.ask(ask(f"{i}")) for i in range(20)))
        assert [texts(reply) for reply in replies] == [["fine"]] * 20
        assert not model.stats.failures
        assert model.stats.requests < 45, "one goes to see, now and then, and not all"
    assert all(message.startswith("one is down since ") for message in told[:-1])
    assert "cannot be reached" in told[0]
    assert "Ctrl-C stops it; the same command goes on" in told[0]
    assert told[-1].startswith("one is back after 2")
    assert 3 <= len(told) <= 12


async def test_patience_ends(server: Server):
    clock = Story()
    async with endpoint(server.url, clock=clock, patience=600) as model:
        await model.ask(ask())
        await server.stop()
        with pytest.raises(Down, match=r"for 1\d min \(models\.one\.patience\).*cannot be reached") as caught:
            await model.ask(ask())
    assert (caught.value.fatal, caught.value.kind) == (True, "connection")
    assert 600 <= sum(clock.slept) < 700
    assert max(clock.slept) <= 60


async def test_patience_may_be_without_end(server: Server):
    clock = Story()
    async with endpoint(server.url, clock=clock, patience=0) as model:
        await model.ask(ask())
        await server.stop()
        clock.happens.append((clock.at + 10_000, server.start))
        assert texts(await model.ask(ask())) == ["fine"]


async def test_a_server_that_never_answered_is_not_waited_for(server: Server):
    await server.stop()
    clock = Story()
    async with endpoint(server.url, clock=clock, attempts=3) as model:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await model.ask(ask())
    assert sum(clock.slept) < 2


async def test_a_server_that_answered_another_model_is_waited_for(server: Server):
    clock, known = Story(), set[str]()
    first, second = (
        Endpoint(ModelSettings(model="m", attempts=1), (server.url,), clock=clock, known=known) for _ in range(2)
    )
    await first.ask(ask())
    await server.stop()
    clock.happens.append((clock.at + 200, server.start))
    assert texts(await second.ask(ask())) == ["fine"]
    await first.close()
    await second.close()


async def test_a_server_that_is_still_loading_is_waited_for():
    loading = [bad(503, "Loading model")] * 12
    clock = Story()
    async with scripted(*loading, good()) as busy, endpoint(busy.url, clock=clock, attempts=6) as model:
        replies = await asyncio.gather(*(model.ask(ask(f"{i}")) for i in range(8)))
        assert [texts(reply) for reply in replies] == [["fine"]] * 8


async def test_one_request_that_a_server_cannot_bear_is_no_outage(now: Now):
    def picky(request: object) -> object:
        return bad(500) if "bad" in str(script.bodies[-1]["messages"]) else good()

    async with scripted(picky) as script, endpoint(script.url, clock=now, attempts=6) as model:
        await model.ask(ask())
        with pytest.raises(Unavailable) as caught:
            await model.ask(ask("bad"))
        assert caught.value.kind == "http-500"
        assert model.stats.requests == 7
        assert not model.replicas.all[0].circuit.open


async def test_what_a_server_is_is_asked_when_it_is_there_again(server: Server):
    clock = Story()
    async with endpoint(server.url, clock=clock, attempts=1) as model:
        await model.ask(ask())
        await server.stop()
        clock.happens.append((clock.at + 200, server.start))
        reply = await model.ask(ask(prefill="<think>\nI see"))
    assert texts(reply) == ["fine"], "it is not taken for one that cannot continue a turn"


async def test_a_stop_ends_the_wait_at_once(server: Server):
    stop = asyncio.Event()
    async with endpoint(server.url, clock=Clock(), concurrency=2, stop=stop) as model:
        await model.ask(ask())
        await server.stop()
        out = [asyncio.create_task(model.ask(ask(f"{i}"))) for i in range(5)]
        circuit = model.replicas.all[0].circuit
        await until(lambda: circuit.open)
        stop.set()
        ended = await asyncio.wait_for(asyncio.gather(*out, return_exceptions=True), 5)
    assert [type(error) for error in ended] == [Interrupted] * 5


@pytest.mark.parametrize("answer", [bad(500), bad(429, Retry_After="1000")])
async def test_a_stop_ends_the_waits_between_attempts_at_once(answer):
    stop = asyncio.Event()
    async with scripted(answer) as script, endpoint(script.url, clock=Clock(), stop=stop) as model:
        out = asyncio.create_task(model.ask(ask()))
        await until(lambda: bool(model.stats.retries))
        stop.set()
        with pytest.raises(Interrupted):
            await asyncio.wait_for(out, 5)
    assert len(script.bodies) == 1


async def test_a_call_that_is_out_when_the_run_stops_comes_home():
    stop = asyncio.Event()
    app = make_app({"m": says("fine")}, Dials(latency=0.1))
    async with running(app) as url, endpoint(url, stop=stop, concurrency=1) as model:
        out = [asyncio.create_task(model.ask(ask(f"{i}"))) for i in range(3)]
        await until(lambda: app[STATS].models["m"].in_flight == 1)
        stop.set()
        first, *rest = await asyncio.gather(*out, return_exceptions=True)
    assert not isinstance(first, BaseException)
    assert texts(first) == ["fine"]
    assert [type(error) for error in rest] == [Interrupted] * 2


async def test_choices_that_came_before_the_stop_are_kept_and_the_rest_is_told_as_missing():
    stop = asyncio.Event()

    def last(request: object) -> object:
        stop.set()
        return good()

    async with scripted(last) as script, endpoint(script.url, stop=stop) as model:
        reply = await model.ask(ask(n=3))
    assert (texts(reply), reply.lost, reply.missing(3)) == (["fine"], "stopped", [1, 2])
    assert len(script.bodies) == 1


async def test_of_several_the_others_go_on_and_it_comes_back(server: Server):
    clock = Story()
    async with (
        simulated(says("other")) as other,
        endpoint(server.url, other, clock=clock, attempts=1) as model,
    ):
        for i in range(20):
            await model.ask(ask(affinity=f"image {i}"))
        (mine,) = [replica for replica in model.replicas.all if replica.base.port == server.port]
        await server.stop()
        seen = [texts(await model.ask(ask(affinity=f"image {i}"))) for i in range(20)]
        assert seen == [["other"]] * 20
        assert mine.circuit.open
        assert not clock.slept, "nobody waits"
        await server.start()
        clock.at += 120
        seen = [texts(await model.ask(ask(affinity=f"image {i}"))) for i in range(20)]
        assert ["fine"] in seen, "its images are at home there again"
        assert not mine.circuit.open


async def test_a_server_that_dies_under_many_requests_costs_each_of_them_little():
    """By the dial: connections break off, nobody listens for a while, and all is as it was."""
    async with (
        simulated(latency=0.02, down_after=10, down_seconds=0.3) as url,
        endpoint(url, clock=Clock(), attempts=2, concurrency=8) as model,
    ):
        replies = await asyncio.gather(*(model.ask(ask(f"{i}")) for i in range(40)), return_exceptions=True)
        assert not [reply for reply in replies if isinstance(reply, ModelError)]
        assert model.stats.retries["connection"] >= 1
