"""The endpoint over real HTTP: what it asks again, when, and what it gives up."""

import asyncio
from email.utils import formatdate

import pytest
from aiohttp import web

from lpt.errors import BadReply, Denied, ModelError, Refused, Unavailable
from lpt.models import transport
from tests.models.conftest import (
    Now,
    ask,
    bad,
    choice,
    endpoint,
    good,
    scripted,
    seeds,
    simulated,
    texts,
)
from tests.serving.helpers import says

TRANSIENT = {
    "500": "http-500",
    "502": "http-502",
    "503": "http-503",
    "reset": "cut-off",
    "cut": "cut-off",
    "html": "not-json",
    "error-200": "error-body",
    "redirect": "redirect",
    "cut-json": "not-json",
    "wrong-type": "wrong-shape",
    "invalid-utf8": "invalid-utf8",
    "no-choices": "no-choices",
    "429": "http-429",
    "429-after": "http-429",
}


@pytest.mark.parametrize("fault", TRANSIENT)
async def test_what_passes_is_retried_and_leaves_no_trace(fault):
    async with simulated() as url, endpoint(url) as model:
        calm = await model.ask(ask(n=2))
    async with simulated(faults={fault: 1.0}, max_faults_per_request=2) as url, endpoint(url) as model:
        reply = await model.ask(ask(n=2))
        assert model.stats.retries == {TRANSIENT[fault]: 2}
        assert not model.stats.failures
        assert (model.stats.requests, model.stats.in_flight) == (3, 0)
    assert reply.choices == calm.choices
    assert reply.attempts == 3


@pytest.mark.parametrize("fault", [fault for fault in TRANSIENT if not fault.startswith("429")])
async def test_what_stays_fails_after_so_many_attempts(fault, now: Now):
    async with simulated(faults={fault: 1.0}) as url, endpoint(url, clock=now, attempts=3) as model:
        with pytest.raises(ModelError) as caught:
            await model.ask(ask())
        assert model.stats.requests == 3
        assert model.stats.failures == {TRANSIENT[fault]: 1}
    assert caught.value.kind == TRANSIENT[fault]
    assert now.slept == [0.25, 0.5], "twice as long each time"
    expected = {"http": Unavailable, "cut-off": Unavailable, "redirect": Denied}
    kind = expected.get(caught.value.kind, expected.get(caught.value.kind[:4], BadReply))
    assert type(caught.value) is kind


async def test_a_reply_that_is_too_long_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(transport, "MAX_BODY", 1 << 16)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()  # chunked: no length is announced
        await response.prepare(request)
        while True:  # until the client hangs up
            await response.write(b"x" * 1000)
            await asyncio.sleep(0)

    async with simulated(faults={"huge": 1.0}, max_faults_per_request=1) as url, endpoint(url) as model:
        assert seeds(await model.ask(ask())) == [7]
        assert model.stats.retries == {"oversized": 1}
    async with scripted(endless) as server, endpoint(server.url, attempts=1) as model:
        with pytest.raises(BadReply) as caught:
            await model.ask(ask())
    assert caught.value.kind == "oversized"


async def test_silence_ends_an_attempt():
    async with (
        simulated(faults={"stall": 1.0}, max_faults_per_request=1) as url,
        endpoint(url, silence=0.1) as model,
    ):
        assert seeds(await model.ask(ask())) == [7]
        assert model.stats.retries == {"timeout": 1}


async def test_a_slow_reply_is_not_silence():
    async with (
        simulated(says("ok"), faults={"slow": 1.0}, slow_seconds=0.001) as url,
        endpoint(url, silence=0.2) as model,
    ):
        assert texts(await model.ask(ask())) == ["ok"]
        assert not model.stats.retries


async def test_the_reply_of_another_model_is_not_taken_where_the_name_is_known():
    strange = good(choice("Paris"), model="somebody-else")
    async with scripted(good(), strange, good()) as server, endpoint(server.url) as model:
        await model.ask(ask("first"))
        assert texts(await model.ask(ask())) == ["fine"]
        assert model.stats.retries == {"stranger": 1}
    async with scripted(good(model="m-2024-07-18")) as server, endpoint(server.url) as model:
        assert texts(await model.ask(ask())) == ["fine"], "an alias is no stranger"


@pytest.mark.parametrize(("status", "error"), [(400, Refused), (422, Refused), (401, Denied), (404, Denied)])
async def test_a_refusal_fails_at_once_in_the_servers_own_words(status, error, now: Now):
    async with (
        scripted(bad(status, "the \x1b[31mwords\nof the server")) as server,
        endpoint(server.url, clock=now) as model,
    ):
        with pytest.raises(ModelError, match=r"the \[31mwords of the server") as caught:
            await model.ask(ask())
    assert type(caught.value) is error
    assert caught.value.kind == f"http-{status}"
    assert len(server.bodies) == 1
    assert not now.slept


NO_MODEL = (
    "knows no such model, or no such path (HTTP 404): The model `m` does not exist. "
    "Check models.one.model against the names that it serves, and that its url ends in /v1"
)
NO_KEY = (
    "does not let us in (HTTP 401): Wrong key. "
    "If it wants a key, name the environment variable that holds it: models.one.key_env"
)


@pytest.mark.parametrize(
    ("status", "said", "message"), [(404, "The model `m` does not exist.", NO_MODEL), (401, "Wrong key...", NO_KEY)]
)
async def test_advice_follows_the_servers_sentence_after_one_full_stop(status, said, message, now: Now):
    async with scripted(bad(status, said)) as server, endpoint(server.url, clock=now) as model:
        with pytest.raises(Denied) as caught:
            await model.ask(ask())
    assert str(caught.value).endswith(message)


async def test_half_a_surrogate_pair_fails_its_own_request_alone():
    async with scripted() as server, endpoint(server.url) as model:
        with pytest.raises(Refused) as caught:
            await model.ask(ask("\ud800"))
        assert caught.value.kind == "not-text"
        assert texts(await model.ask(ask())) == ["fine"]


# 429.


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_429_is_waited_out_as_long_as_the_server_says(form, now: Now):
    def busy(_: web.Request) -> web.Response:
        after = "90" if form == "seconds" else formatdate(now.wall() + 90, usegmt=True)
        return bad(429, "slow down", Retry_After=after)

    async with scripted(*[busy] * 9, good()) as server, endpoint(server.url, clock=now, attempts=2) as model:
        assert texts(await model.ask(ask())) == ["fine"]
    assert now.slept == [pytest.approx(90, abs=1)] * 9, "and is no attempt"


async def test_other_requests_wait_out_the_same_pause(now: Now):
    async with scripted(bad(429, Retry_After="60"), good()) as server, endpoint(server.url, clock=now) as model:
        await model.ask(ask())
        now.at -= 30
        await model.ask(ask())
    assert now.slept == [60, 30]


async def test_a_429_without_a_word_is_waited_out_longer_each_time(now: Now):
    async with scripted(*[bad(429)] * 4, good()) as server, endpoint(server.url, clock=now) as model:
        await model.ask(ask())
    assert now.slept == [0.25, 0.5, 1.0, 2.0]


async def test_a_429_that_stays_fails_after_half_an_hour(now: Now):
    async with (
        scripted(bad(429, "slow down", Retry_After="600")) as server,
        endpoint(server.url, clock=now) as model,
    ):
        with pytest.raises(Unavailable, match="slow down") as caught:
            await model.ask(ask())
    assert caught.value.kind == "http-429"
    assert sum(now.slept) == 1800


async def test_no_quota_is_nothing_to_wait_for(now: Now):
    spent = web.json_response({"error": {"message": "pay", "code": "insufficient_quota"}}, status=429)
    async with scripted(spent) as server, endpoint(server.url, clock=now) as model:
        with pytest.raises(Denied, match="no quota left"):
            await model.ask(ask())
    assert not now.slept


async def test_a_server_that_says_at_once_is_not_asked_without_end(now: Now):
    async with scripted(bad(429, Retry_After="0"), good()) as server, endpoint(server.url, clock=now) as model:
        await model.ask(ask())
    assert now.slept == [0.25]
