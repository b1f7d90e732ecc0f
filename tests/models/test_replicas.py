"""Several servers of one model: an image stays with one, and goes to the next when that is gone."""

import asyncio
import json
import socket
from collections import Counter

import pytest

from lpt.errors import Unavailable, UserError
from lpt.models import endpoint as endpoint_module
from lpt.models.patience import Clock
from lpt.models.replicas import Replicas
from lpt.serving.app import STATS, make_app
from lpt.serving.dials import Dials
from lpt.serving.serve import running
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
from tests.serving.helpers import says


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


def measured(*speeds: float, most: int | None = None) -> Replicas:
    replicas = Replicas([f"http://one.invalid:{8000 + i}/v1" for i in range(len(speeds))], "one", Now(), most)
    for replica, speed in zip(replicas.all, speeds, strict=True):
        replica.capacity.speed = speed
    replicas.make_room()
    return replicas


def test_images_are_shared_by_what_each_replica_does_in_a_second():
    replicas = measured(100.0, 300.0)
    homes = Counter(replicas.choose(f"image {i}").door for i in range(4000))
    assert 0.22 < homes[0] / 4000 < 0.28


def test_an_image_keeps_its_home_when_speeds_change_and_few_others_move():
    replicas = measured(100.0, 100.0, 100.0)
    homes = {f"image {i}": replicas.choose(f"image {i}") for i in range(300)}
    replicas.all[0].capacity.speed = 900.0
    assert {image: replicas.choose(image) for image in homes} == homes
    fresh, before = measured(110.0, 100.0, 100.0), measured(100.0, 100.0, 100.0)
    moved = sum(fresh.choose(f"image {i}").door != before.choose(f"image {i}").door for i in range(1000))
    assert moved < 60


def test_a_fixed_number_of_places_is_shared_by_speed_with_some_to_spare():
    replicas = measured(100.0, 300.0, most=64)
    rooms = [replicas.gate._room[replica.door] for replica in replicas.all]
    assert rooms == [24, 64]
    assert replicas.gate.limit == 64


async def test_a_slow_replica_does_not_hold_up_the_fast_one():
    """Half of the images are at home at a server that takes two at once, the other takes sixteen."""
    apps = [make_app({"m": says("fine")}, Dials(concurrency=places, latency=0.02)) for places in (2, 16)]
    async with (
        running(apps[0]) as slow,
        running(apps[1]) as fast,
        endpoint(slow, fast, clock=Clock(), concurrency=24) as model,
    ):
        asked = (model.ask(ask(f"{i}", affinity=f"image {i // 4}", rank=i // 4)) for i in range(400))
        await asyncio.gather(*asked)
        assert model.replicas.gate.in_flight == 0
    counts = [app[STATS].models["m"].requests for app in apps]
    assert sum(counts) == 400
    assert counts[1] > 1.5 * counts[0]
