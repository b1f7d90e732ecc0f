"""Time, room and counts."""

import asyncio
import contextlib
import json
import threading
from pathlib import Path
from time import perf_counter

import aiohttp
import pytest

from lpt.errors import UserError
from lpt.serving.app import STATS, make_app
from lpt.serving.dials import Dials
from lpt.serving.protocol import Ask, Said
from lpt.serving.serve import running
from tests.serving.helpers import Wire, body, exchange, mirror, png, post, said, says, stats, until, user


async def test_no_more_choices_run_at_once_than_there_is_room_for():
    async with running(make_app({"m": says("x")}, Dials(concurrency=3, latency=0.005))) as url:
        await asyncio.gather(*(said(url, body(seed=i, n=2)) for i in range(5)))
        counts = (await stats(url))["models"]["m"]
    assert counts["max_running"] == 3
    assert counts["max_in_flight"] == 5
    assert (counts["requests"], counts["choices"]) == (5, 10)
    assert counts["running"] == counts["in_flight"] == 0


async def test_each_model_has_its_own_room():
    app = make_app({"m": says("x"), "o": says("x")}, Dials(concurrency=1, latency=30))
    async with running(app) as url:
        wires = [await Wire.send(url, json.dumps(body(model=name)).encode()) for name in ("m", "m", "o")]
        await until(lambda: [m.in_flight for m in app[STATS].models.values()] == [2, 1])
        await until(lambda: [m.running for m in app[STATS].models.values()] == [1, 1])
        for wire in wires:
            wire.close()


async def test_who_came_first_is_served_first():
    order = []

    def note(ask: Ask, seed: int) -> Said:
        order.append(seed)
        return Said("")

    app = make_app({"m": note}, Dials(concurrency=1, latency=0.002))
    async with running(app) as url:
        wires = []
        for seed in range(6):
            wires.append(await Wire.send(url, json.dumps(body(seed=seed)).encode()))
            await until(lambda seen=seed: app[STATS].models["m"].requests > seen)  # type: ignore[misc]  # it arrived
        for wire in wires:
            await wire.rest()
            wire.close()
    assert order == list(range(6))


@pytest.mark.parametrize(
    ("dials", "least"),
    [
        (Dials(latency=0.03), 0.03),
        (Dials(tokens_per_second=1000), 0.03),
        (Dials(prefill_tokens_per_second=1000), 0.03),
    ],
)
async def test_time_passes_as_dialled(dials, least):
    async with running(make_app({"m": says(" ab" * 30)}, dials)) as url:
        start = perf_counter()
        await said(url, body(user("word " * 25), n=4))
        assert perf_counter() - start >= least
        assert (await stats(url))["models"]["m"]["max_running"] == 4  # side by side, not one by one


async def test_a_cached_prompt_takes_no_time():
    dials = Dials(prefill_tokens_per_second=200)
    async with running(make_app({"m": says("x")}, dials)) as url:
        asked = body(user("word " * 60))
        start = perf_counter()
        await said(url, asked)
        between = perf_counter()
        await said(url, asked)
        assert between - start > 0.3 > 2 * (perf_counter() - between)


async def test_a_client_that_leaves_frees_its_place():
    app = make_app({"m": says("x")}, Dials(concurrency=1, latency=30))
    async with running(app) as url:
        counts = app[STATS].models["m"]
        first = await Wire.send(url, json.dumps(body()).encode())
        second = await Wire.send(url, json.dumps(body(seed=8)).encode())
        await until(lambda: counts.in_flight == 2)
        first.close()
        await until(lambda: counts.in_flight == 1 and counts.running == 1)
        second.close()
        await until(lambda: counts.in_flight == counts.running == 0)
        assert counts.max_running == 1
        assert app[STATS].statuses == {"499": 2}


async def test_beyond_the_rate_limit_requests_are_turned_away_with_a_wait():
    async with running(make_app({"m": says("x")}, Dials(rate_limit=3))) as url:
        replies = [await exchange(url, body(seed=i)) for i in range(5)]
        assert [status for status, _, _ in replies] == [200, 200, 200, 429, 429]
        assert replies[4][1]["retry-after"] == "1"
        assert (await stats(url))["statuses"] == {"200": 3, "429": 2}


async def test_a_rate_limit_refills_and_may_name_no_wait():
    async with running(make_app({"m": says("x")}, Dials(rate_limit=200, retry_after="none"))) as url:
        refused = 0
        served = 0
        while served < 210:
            status, headers, _ = await exchange(url, body())
            refused += status == 429
            served += status == 200
            assert "retry-after" not in headers
    assert served == 210


async def test_the_loop_stays_responsive_while_responders_work_in_threads():
    started, go = threading.Event(), threading.Event()

    def slow(ask: Ask, seed: int) -> Said:
        started.set()
        assert go.wait(5)
        return Said("done")

    async with running(make_app({"m": slow}, Dials(threads=1))) as url:
        waiting = asyncio.create_task(said(url, body()))
        await until(started.is_set)
        assert (await stats(url))["models"]["m"]["running"] == 1  # answered while the responder is busy
        go.set()
        assert await waiting == ["done"]


async def test_a_shared_prefix_is_cached_and_reported():
    async with running(make_app({"m": says("x")}, Dials(block_size=4))) as url:
        picture = png(280, 280)
        first = (await post(url, body(user("what is it?", picture))))[1]["usage"]
        again = (await post(url, body(user("what else is there?", picture))))[1]["usage"]
        other = (await post(url, body(user("what is it?", png(280, 280, "blue")))))[1]["usage"]
        counts = (await stats(url))["models"]["m"]
    assert first["prompt_tokens_details"] == {"cached_tokens": 0}
    # Three tokens open the turn, 100 are the image's, one word more is shared: 26 whole blocks.
    assert again["prompt_tokens_details"] == {"cached_tokens": 104}
    assert other["prompt_tokens_details"] == {"cached_tokens": 0}
    assert (counts["cached_tokens"], counts["cache_hits"], counts["images"]) == (104, 1, 3)


@pytest.mark.parametrize(("size", "tokens"), [((28, 28), 1), ((29, 28), 2), ((512, 512), 361)])
async def test_an_image_counts_by_its_size(size, tokens):
    async with running(make_app({"m": says("x")})) as url:
        bare = (await post(url, body(user("q"))))[1]["usage"]["prompt_tokens"]
        shown = (await post(url, body(user("q", png(*size)))))[1]["usage"]["prompt_tokens"]
    assert shown - bare == tokens


async def test_without_a_cache_nothing_is_reported():
    async with running(make_app({"m": says("x")}, Dials(prefix_cache=False))) as url:
        assert (await post(url, body()))[1]["usage"]["prompt_tokens_details"] is None


async def test_the_log_tells_what_was_asked_twice(tmp_path):
    log = tmp_path / "log.jsonl"
    async with running(make_app({"m": mirror}, Dials(log_requests=str(log), faults={"reset": 0}))) as url:
        for asked in (body(), body(seed=8, n=2), body(), body(model="?")):
            await post(url, asked)
        assert (await stats(url))["repeats"] == 1
        lines = [json.loads(line) for line in log.read_text().splitlines()]  # written while it serves
    assert [line["status"] for line in lines] == ["200", "200", "200", "404"]
    assert [line["attempt"] for line in lines] == [0, 0, 1, 0]
    assert lines[0]["digest"] == lines[2]["digest"] != lines[1]["digest"]
    assert (lines[1]["model"], lines[1]["seed"], lines[1]["n"]) == ("m", 8, 2)
    assert lines[2]["completion_tokens"] > 0


async def test_the_room_changes_as_choices_are_written():
    widths: list[int] = []

    def note(ask: Ask, seed: int) -> Said:
        widths.append(app[STATS].models["m"].running)
        return Said("x")

    app = make_app({"m": note}, Dials(concurrency=2, concurrency_steps="4:1,6:3", latency=0.005))
    async with running(app) as url:
        await asyncio.gather(*(said(url, body(seed=i)) for i in range(16)))
    assert max(widths[:4]) == 2
    assert max(widths[-6:]) == 3
    assert 1 in widths[4:8]


async def test_a_request_that_finds_too_long_a_line_is_turned_away():
    app = make_app({"m": says("x")}, Dials(concurrency=1, max_waiting=1, latency=30))
    async with running(app) as url:
        wires = [await Wire.send(url, json.dumps(body(seed=seed)).encode()) for seed in range(2)]
        await until(lambda: app[STATS].models["m"].in_flight == 2)
        assert (await exchange(url, body(seed=9)))[0] == 429
        for wire in wires:
            wire.close()


async def test_many_at_once_are_slower_than_one():
    dials = Dials(tokens_per_second=2000, batch_slowdown=1.0)
    async with running(make_app({"m": says(" ab" * 20)}, dials)) as url:
        start = perf_counter()
        await said(url, body(n=10))
        assert perf_counter() - start >= 0.1, "ten times the ten milliseconds of one alone"


async def test_it_goes_away_under_a_request_and_comes_back():
    async with running(make_app({"m": says("x")}, Dials(down_after=2, down_seconds=0.2))) as url:
        assert await said(url, body(seed=1)) == ["x"]
        with pytest.raises(aiohttp.ClientError):
            await post(url, body(seed=2))
        with pytest.raises(aiohttp.ClientConnectorError):
            await post(url, body(seed=3))

        back = False
        while not back:
            with contextlib.suppress(aiohttp.ClientError):
                back = await said(url, body(seed=4)) == ["x"]


async def test_it_speaks_https_with_a_certificate_of_ones_own():
    path = Path(__file__).parent / "files" / "expired.pem"
    async with running(make_app({"m": says("x")}, Dials(certificate=str(path)))) as url:
        assert url.startswith("https://")
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/chat/completions", json=body(), ssl=False) as reply,
        ):
            assert reply.status == 200
    with pytest.raises(UserError, match=r"certificate=.* cannot be used"):
        async with running(make_app({"m": says("x")}, Dials(certificate=__file__))):
            pass
