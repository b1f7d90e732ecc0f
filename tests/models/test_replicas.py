"""Several servers of one model: an image stays with one, and goes to the next when that is gone."""

import asyncio
import json
import socket

import pytest

from lpt.errors import Unavailable, UserError
from lpt.models import endpoint as endpoint_module
from lpt.settings import ModelSettings
from tests.models.conftest import (
    Now,
    ask,
    bad,
    endpoint,
    scripted,
    simulated,
    texts,
)


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


async def test_an_image_stays_with_one_replica():
    async with scripted() as one, scripted() as two, endpoint(one.url, two.url) as model:
        for i in range(40):
            await model.ask(ask(json.dumps(i % 10), affinity=f"image {i % 10}"))
    for server in (one, two):
        seen = [body["messages"][0]["content"] for body in server.bodies]
        assert 0 < len(seen) < 40
        assert all(seen.count(text) == 4 for text in seen)


async def test_a_replica_that_cannot_be_reached_is_set_aside_and_comes_back(now: Now):
    async with scripted() as alive, endpoint(closed_port(), alive.url, clock=now, attempts=1) as model:
        for i in range(20):
            await model.ask(ask(affinity=f"image {i}"))
        assert model.stats.retries == {"connection": 1}, "one request finds out for all"
        assert not now.slept
        now.at += 31
        for i in range(20):
            await model.ask(ask(affinity=f"image {i}"))
        assert model.stats.retries == {"connection": 2}


async def test_a_replica_that_fails_hands_its_request_to_another(now: Now):
    async with (
        scripted(bad(503)) as sick,
        scripted() as well,
        endpoint(sick.url, well.url, clock=now, attempts=1) as model,
    ):
        for i in range(20):
            assert texts(await model.ask(ask(affinity=f"image {i}"))) == ["fine"]
    assert len(well.bodies) == 20
    assert not now.slept


async def test_all_replicas_gone_is_unavailable(now: Now):
    async with endpoint(closed_port(), closed_port(), clock=now, attempts=3) as model:
        with pytest.raises(Unavailable, match="cannot be reached") as caught:
            await model.ask(ask())
    assert caught.value.kind == "connection"
    assert len(now.slept) == 2


def test_a_url_that_is_none_is_the_users_to_mend():
    with pytest.raises(UserError, match=r"models\.one\.url"):
        endpoint_module.Endpoint(ModelSettings(model="m"), ["localhost:8000/v1"], name="one")


async def test_the_environments_proxy_is_used_but_not_for_ourselves(monkeypatch):
    async with scripted() as proxy, scripted() as server:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        async with endpoint(server.url) as here, endpoint("http://model.invalid/v1") as there:
            await here.ask(ask())
            assert not proxy.paths
            await there.ask(ask())
            assert proxy.headers[0]["Host"] == "model.invalid"


async def test_a_request_that_is_cancelled_leaves_nothing_in_flight():
    async with simulated(faults={"stall": 1.0}) as url, endpoint(url) as model:
        task = asyncio.create_task(model.ask(ask()))
        while not model.stats.in_flight:  # noqa: ASYNC110 - counts do not announce themselves
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert model.stats.in_flight == 0
