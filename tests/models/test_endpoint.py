"""The endpoint over real HTTP: what it sends, what it reads, what it retries."""

import asyncio
import base64
import json
import logging
import socket
from email.utils import formatdate

import pytest
from aiohttp import web

from lpt.errors import BadReply, Denied, ModelError, Refused, Unavailable, UserError
from lpt.models import endpoint as endpoint_module
from lpt.models.base import Image, Sampling
from lpt.settings import ModelSettings
from tests.models.conftest import (
    CANARY,
    Answer,
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


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


def hang_up(request: web.Request) -> web.Response:
    assert request.transport
    request.transport.close()
    return web.Response()


# What it sends.


async def test_a_request_says_all_that_it_was_told():
    sampling = Sampling(
        temperature=0.6,
        top_p=0.9,
        top_k=50,
        repetition_penalty=1.05,
        max_tokens=9,
        stop=("X",),
        bad_words=("text",),
        extra={"min_p": 0.1},
    )
    schema = {"type": "object"}
    async with (
        scripted(good(choice(index=1), choice())) as server,
        endpoint(server.url, extra={"min_p": 0.2, "user": "lpt"}) as model,
    ):
        await model.ask(ask("hi", n=2, sampling=sampling, schema=schema))
    (body,) = server.bodies
    assert server.paths == ["/v1/chat/completions"]
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.6,
        "top_p": 0.9,
        "top_k": 50,
        "repetition_penalty": 1.05,
        "max_tokens": 9,
        "stop": ["X"],
        "bad_words": ["text"],
        "n": 2,
        "seed": 7,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "think", "strict": True, "schema": schema},
        },
        "user": "lpt",
        "min_p": 0.1,
    }


async def test_an_image_stands_before_the_text_as_a_data_url():
    data = bytes(range(256))
    async with scripted() as server, endpoint(server.url) as model:
        await model.ask(ask("what?", images=(Image(key="k", data=data, media_type="image/png"),)))
        await model.ask(ask("what?", images=(Image(key="k", data=b"other"),)))
    picture, text = server.bodies[0]["messages"][0]["content"]
    head, payload = picture["image_url"]["url"].split(",")
    assert (picture["type"], head) == ("image_url", "data:image/png;base64")
    assert base64.b64decode(payload) == data
    assert text == {"type": "text", "text": "what?"}
    other = server.bodies[1]["messages"][0]["content"][0]["image_url"]["url"]
    assert base64.b64decode(other.split(",")[1]) == b"other", "a key that is used twice mixes nothing up"


async def test_a_large_image_goes_out_whole():
    data = bytes(3 << 20)
    async with scripted() as server, endpoint(server.url) as model:
        assert texts(await model.ask(ask(images=(Image(key="", data=data),)))) == ["fine"]
    assert len(server.bodies[0]["messages"][0]["content"][0]["image_url"]["url"]) > 4 << 20


async def test_no_seed_is_sent_where_the_recipe_says_so():
    async with scripted() as server, endpoint(server.url, sampling_seed=False) as model:
        await model.ask(ask())
    assert "seed" not in server.bodies[0]


async def test_extra_cannot_set_what_the_ledger_relies_on():
    async with scripted() as server, endpoint(server.url, extra={"n": 5}) as model:
        with pytest.raises(UserError, match="cannot set n"):
            await model.ask(ask())
    assert not server.bodies


async def test_the_newer_name_of_the_limit_replaces_the_older_one():
    async with scripted() as server, endpoint(server.url, extra={"max_completion_tokens": 5}) as model:
        await model.ask(ask())
    assert "max_tokens" not in server.bodies[0]


# What it reads.


async def test_a_reply_is_read_with_its_reasoning_and_its_usage():
    spoken = choice("the answer", reasoning_content="a thought")
    async with scripted(good(spoken)) as server, endpoint(server.url) as model:
        reply = await model.ask(ask())
    assert reply.choices[0].text == "the answer"
    assert reply.choices[0].reasoning == "a thought"
    assert reply.choices[0].joined() == "a thought\n</think>\nthe answer"
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.cached_tokens) == (10, 5, 4)
    assert reply.attempts == 1


@pytest.mark.parametrize(
    "spoken", [choice(None, reasoning="only thought"), choice(None), choice(""), choice(None, reasoning=None)]
)
async def test_an_empty_text_is_a_reply_that_the_stage_judges(spoken):
    async with scripted(good(spoken)) as server, endpoint(server.url) as model:
        reply = await model.ask(ask())
    assert texts(reply) == [""]
    assert reply.choices[0].reasoning == spoken["message"].get("reasoning")


async def test_choices_come_in_the_order_of_their_index():
    shuffled = [choice("c", 2), choice("a", 0), choice("b", 1)]
    async with scripted(good(*shuffled)) as server, endpoint(server.url) as model:
        assert texts(await model.ask(ask(n=3))) == ["a", "b", "c"]


async def test_more_choices_than_asked_for_are_cut():
    async with scripted(good(choice("a"), choice("b", 1))) as server, endpoint(server.url) as model:
        assert texts(await model.ask(ask(n=1))) == ["a"]


async def test_indices_that_make_no_sense_are_passed_over():
    async with scripted(good(choice("a"), choice("b"))) as server, endpoint(server.url) as model:
        assert texts(await model.ask(ask(n=2))) == ["a", "b"]


@pytest.mark.parametrize("fault", ["ignore-n", "fewer-choices"])
async def test_missing_choices_are_asked_for_with_their_own_seeds(fault):
    async with simulated() as url, endpoint(url) as model:
        calm = await model.ask(ask(n=4))
    async with simulated(faults={fault: 1.0}, max_faults_per_request=9) as url, endpoint(url) as model:
        shaky = await model.ask(ask(n=4)) if fault == "ignore-n" else None
    async with simulated(faults={fault: 1.0}, max_faults_per_request=1) as url, endpoint(url) as model:
        once = await model.ask(ask(n=4))
    assert seeds(calm) == [7, 8, 9, 10]
    assert texts(once) == texts(calm)
    if shaky:
        assert texts(shaky) == texts(calm)
        assert shaky.attempts == 4


async def test_a_choice_missing_in_the_middle_keeps_its_place():
    # And a server that then gives more than it is asked for overwrites nothing.
    answers = [good(choice("a"), choice("c", 2)), good(choice("b"), choice("x", 1))]
    async with scripted(*answers) as server, endpoint(server.url) as model:
        assert texts(await model.ask(ask(n=3))) == ["a", "b", "c"]
    assert [body["seed"] for body in server.bodies] == [7, 8]
    assert "n" not in server.bodies[1]


async def test_a_server_that_refuses_several_choices_is_asked_one_by_one():
    def picky(request: web.Request) -> web.Response:
        return bad(400, "n must be 1") if server.bodies[-1].get("n") else good()

    async with scripted(picky) as server, endpoint(server.url) as model:
        assert texts(await model.ask(ask(n=2))) == ["fine", "fine"]
        assert texts(await model.ask(ask(n=2))) == ["fine", "fine"]
    assert [body.get("n", 1) for body in server.bodies] == [2, 1, 1, 1, 1]
    assert [body["seed"] for body in server.bodies[1:]] == [7, 8, 7, 8]


async def test_a_refusal_that_is_not_about_the_number_is_told_in_the_servers_words():
    async with scripted(bad(400, "prompt too long: 9 > 8")) as server, endpoint(server.url) as model:
        with pytest.raises(Refused, match="prompt too long: 9 > 8") as caught:
            await model.ask(ask(n=2))
    assert caught.value.kind == "http-400"


# What it retries.

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
    monkeypatch.setattr(endpoint_module, "MAX_BODY", 1 << 16)

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
    async with simulated() as url, endpoint(url) as model:
        await model.ask(ask("first"))
        strange = good(choice("Paris"), model="somebody-else")
        async with scripted(strange, good()) as server:
            model._replicas = type(model._replicas)([server.url], "one", Now())
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


# Keys.


async def test_the_key_is_sent_and_shown_nowhere(monkeypatch, caplog, capsys):
    monkeypatch.setenv("CANARY_KEY", f"{CANARY}\n")
    monkeypatch.setenv("CANARY_HEADER", f"{CANARY}-2")
    caplog.set_level(logging.DEBUG)
    told: list[Answer] = [
        bad(401, f"Incorrect API key provided: {CANARY}"),
        bad(400, "x" * 290 + CANARY),
        bad(500, CANARY),
        bad(307, Location=f"https://{CANARY}@elsewhere/?key={CANARY}"),
        lambda _: web.Response(text=f"not json {CANARY}"),
        good({"index": "nowhere"}),
        hang_up,
    ]
    seen = []
    for answer in told:
        async with (
            scripted(answer) as server,
            endpoint(
                f"{server.url}?key={CANARY}-3",
                key_env="CANARY_KEY",
                headers={"X-Other": "$CANARY_HEADER", "X-Plain": "plain"},
                attempts=1,
            ) as model,
        ):
            with pytest.raises(ModelError) as caught:
                await model.ask(ask())
            assert server.headers[0]["Authorization"] == f"Bearer {CANARY}"
            assert server.headers[0]["X-Other"] == f"{CANARY}-2"
            assert server.headers[0]["X-Plain"] == "plain"
            assert server.queries == [f"key={CANARY}-3"]
            error: BaseException | None = caught.value
            while error:
                seen += [str(error), repr(error), repr(vars(error))]
                error = error.__cause__ or error.__context__
            seen += [repr(model), str(model.stats)]
    output = capsys.readouterr()
    assert CANARY[:12] not in "".join([*seen, caplog.text, output.out, output.err])


async def test_a_redirect_is_not_followed_with_the_key(monkeypatch):
    monkeypatch.setenv("CANARY_KEY", CANARY)
    async with (
        scripted() as elsewhere,
        scripted(bad(307, Location=elsewhere.url)) as server,
        endpoint(server.url, key_env="CANARY_KEY") as model,
    ):
        with pytest.raises(Denied, match=r"set models\.one\.url") as caught:
            await model.ask(ask())
    assert caught.value.kind == "redirect"
    assert not elsewhere.paths


async def test_a_missing_key_names_its_variable_before_anything_is_sent(monkeypatch):
    monkeypatch.delenv("CANARY_KEY", raising=False)
    async with scripted() as server, endpoint(server.url, key_env="CANARY_KEY") as model:
        with pytest.raises(UserError, match=r"models.one.key_env .* CANARY_KEY"):
            await model.ask(ask())
        monkeypatch.setenv("CANARY_KEY", "sk-\x01")
        with pytest.raises(UserError, match="no header can carry") as caught:
            await model.ask(ask())
    assert "sk-" not in str(caught.value)
    assert not server.paths


async def test_a_password_in_the_url_is_sent_as_such_and_shown_nowhere(monkeypatch):
    monkeypatch.setenv("CANARY_KEY", "another")
    async with scripted(bad(401, CANARY)) as server:
        url = server.url.replace("//", f"//user:{CANARY}@")
        async with endpoint(url) as model, endpoint(url, key_env="CANARY_KEY") as twice:
            with pytest.raises(Denied) as caught:
                await model.ask(ask())
            assert server.headers[0]["Authorization"].startswith("Basic ")
            assert CANARY not in f"{caught.value} {model!r}"
            with pytest.raises(UserError, match="only one can be sent"):
                await twice.ask(ask())


async def test_a_server_that_says_at_once_is_not_asked_without_end(now: Now):
    async with scripted(bad(429, Retry_After="0"), good()) as server, endpoint(server.url, clock=now) as model:
        await model.ask(ask())
    assert now.slept == [0.25]


# Replicas.


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
