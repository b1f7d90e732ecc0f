"""Each fault, as a client sees it that interprets nothing."""

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import time
from typing import Any

import aiohttp
import pytest

from lpt.serving.app import STATS, make_app
from lpt.serving.dials import FAULTS, Dials
from lpt.serving.serve import running
from tests.serving.helpers import Wire, body, exchange, mirror, post, says, stats, until

GOOD = "The square is red."


def faulty(fault: str, **more: Any) -> AbstractAsyncContextManager[str]:
    return running(make_app({"m": says(GOOD)}, Dials(faults={fault: 1.0}, slow_seconds=0.0, **more)))


async def struck(fault: str, n: int = 1, **more: Any) -> tuple[int, dict[str, str], bytes]:
    async with faulty(fault, **more) as url:
        status, headers, raw = await exchange(url, body(n=n))
        assert (await stats(url))["faults"] == {fault: 1}
    return status, headers, raw


def choices(raw: bytes) -> Any:
    return json.loads(raw)["choices"]


@pytest.mark.parametrize("fault", ["429", "429-after", "500", "503"])
async def test_refusals_are_error_objects_with_their_status(fault):
    status, headers, raw = await struck(fault, retry_after_seconds=3)
    assert status == int(fault[:3])
    assert json.loads(raw)["error"]["code"] == status
    assert headers.get("retry-after") == ("3" if fault == "429-after" else None)


async def test_the_wait_may_be_a_date():
    _, headers, _ = await struck("429-after", retry_after="date", retry_after_seconds=100)
    assert headers["retry-after"].endswith(" GMT")
    assert 95 < parsedate_to_datetime(headers["retry-after"]).timestamp() - time() <= 101


@pytest.mark.parametrize(("fault", "code"), [("502", 502), ("html", 200)])
async def test_a_proxy_speaks_html(fault, code):
    status, headers, raw = await struck(fault)
    assert (status, headers["content-type"]) == (code, "text/html")
    assert raw.startswith(b"<!doctype html>")


async def test_an_error_may_hide_behind_status_200():
    status, _, raw = await struck("error-200")
    assert status == 200
    assert json.loads(raw)["error"]["code"] == 500


async def test_a_redirect_points_to_a_place_that_knows_who_followed():
    async with faulty("redirect") as url:
        status, headers, _ = await exchange(url, body())
        assert (status, headers["location"]) == (307, "/sim/elsewhere")
        assert (await stats(url))["redirects_followed"] == 0
        assert (await post(url, body()))[1] == {"object": "elsewhere"}  # aiohttp follows by itself
        assert (await stats(url))["redirects_followed"] == 1


async def test_a_reset_connection_gives_no_byte():
    async with faulty("reset") as url:
        wire = await Wire.send(url, json.dumps(body()).encode())
        with pytest.raises(ConnectionResetError):
            await wire.rest()
        assert (await stats(url))["statuses"] == {"reset": 1}


async def test_a_stall_sends_its_headers_and_then_nothing_and_ends_with_the_client():
    app = make_app({"m": says(GOOD)}, Dials(faults={"stall": 1.0}))
    async with running(app) as url:
        wire = await Wire.send(url, json.dumps(body()).encode())
        status, _ = await wire.head()
        assert status == 200
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(wire.reader.read(1), 0.02)
        assert app[STATS].models["m"].in_flight == 1
        wire.close()
        await until(lambda: app[STATS].models["m"].in_flight == 0)
        assert app[STATS].statuses == {"499": 1}


async def test_a_server_with_a_stalled_reply_still_ends():
    async with faulty("stall") as url:
        wire = await Wire.send(url, json.dumps(body()).encode())
        await wire.head()
    wire.close()


async def test_a_cut_body_is_shorter_than_its_length_says():
    async with faulty("cut") as url:
        wire = await Wire.send(url, json.dumps(body()).encode(), connection="keep-alive")
        status, headers = await wire.head()
        raw = await asyncio.wait_for(wire.rest(), 5)  # the server hangs up, though asked to stay
        wire.close()
    assert status == 200
    assert 0 < len(raw) < int(headers["content-length"])


async def test_a_slow_body_comes_whole():
    async with faulty("slow") as url:
        wire = await Wire.send(url, json.dumps(body()).encode())
        _, headers = await wire.head()
        first = await wire.reader.read(20)
        raw = first + await wire.rest()
        wire.close()
    assert len(first) < 20  # what was there at once is a byte or few, not a body
    assert len(raw) == int(headers["content-length"])
    assert choices(raw)[0]["message"]["content"] == GOOD


async def test_json_may_stop_in_the_middle():
    _, headers, raw = await struck("cut-json")
    assert len(raw) == int(headers["content-length"])
    with pytest.raises(json.JSONDecodeError):
        json.loads(raw)


async def test_text_may_not_be_utf8():
    _, _, raw = await struck("invalid-utf8")
    with pytest.raises(UnicodeDecodeError):
        raw.decode()
    assert GOOD in raw.decode("utf-8", "replace")


async def test_a_huge_reply_is_as_large_as_dialled_and_valid():
    _, headers, raw = await struck("huge", n=2, huge_bytes=(3 << 20) + 5)
    assert len(raw) == int(headers["content-length"])
    texts = [choice["message"]["content"] for choice in choices(raw)]
    assert [len(text) for text in texts] == [(3 << 20) + 5 + len(GOOD), len(GOOD)]


async def test_a_client_may_leave_a_huge_reply():
    app = make_app({"m": says(GOOD)}, Dials(faults={"huge": 1.0}))
    async with running(app) as url:
        wire = await Wire.send(url, json.dumps(body()).encode())
        await wire.reader.readexactly(1000)
        wire.close()
        await until(lambda: app[STATS].models["m"].in_flight == 0)


@pytest.mark.parametrize(
    ("fault", "n", "left"),
    [
        ("fewer-choices", 3, 2),
        ("fewer-choices", 1, 0),
        ("no-choices", 3, 0),
        ("ignore-n", 3, 1),
        ("ignore-n", 1, 1),
    ],
)
async def test_choices_may_be_missing(fault, n, left):
    status, _, raw = await struck(fault, n=n)
    assert status == 200
    assert [choice["message"]["content"] for choice in choices(raw)] == [GOOD] * left


@pytest.mark.parametrize(
    ("fault", "content", "reason"),
    [
        ("wrong-type", 42, "stop"),
        ("null-content", None, "stop"),
        ("content-filter", "", "content_filter"),
        ("length", GOOD[: len(GOOD) // 2], "length"),
        ("stranger", "The capital of France is Paris.", "stop"),
    ],
)
async def test_the_text_may_not_be_what_was_asked_for(fault, content, reason):
    _, _, raw = await struck(fault)
    (choice,) = choices(raw)
    assert (choice["message"]["content"], choice["finish_reason"]) == (content, reason)
    assert (json.loads(raw)["model"] == "m") == (fault != "stranger")


async def test_the_other_route_is_struck_the_same_way():
    async with faulty("null-content") as url:
        _, reply = await post(url, {"model": "m", "prompt": "p"}, "/completions")
    assert reply["choices"][0]["text"] is None


async def test_a_silent_server_takes_the_request_and_sends_nothing():
    app = make_app({"m": says(GOOD)}, Dials(faults={"silent": 1.0}))
    async with running(app) as url:
        wire = await Wire.send(url, json.dumps(body()).encode())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(wire.reader.read(1), 0.02)
        assert app[STATS].models["m"].in_flight == 1
        wire.close()
        await until(lambda: app[STATS].models["m"].in_flight == 0)


async def test_a_reply_may_call_itself_something_else():
    _, headers, raw = await struck("mislabelled")
    assert headers["content-type"].startswith("text/plain")
    assert choices(raw)[0]["message"]["content"] == GOOD


async def test_one_reply_may_begin_anew():
    dials = Dials(faults={"ignore-prefill": 1.0}, max_faults_per_request=1)
    begun = body({"role": "user", "content": "hi"}, {"role": "assistant", "content": "I see", "prefix": True})
    async with running(make_app({"m": mirror}, dials)) as url:
        told = [(await post(url, begun))[1] for _ in range(2)]
    replies = [json.loads(reply["choices"][0]["message"]["content"]) for reply in told]
    assert [reply["prefill"] for reply in replies] == [None, "I see"]
    assert replies[0]["turns"][-1][:2] == ["assistant", "I see"]


async def test_a_reply_may_be_that_of_the_request_before_with_its_id():
    dials = Dials(faults={"mixed-up": 1.0}, max_faults_per_request=1, echo_request_id=True)
    async with running(make_app({"m": mirror}, dials)) as url, aiohttp.ClientSession() as session:
        told: list[tuple[int, str]] = []
        for seed in (1, 2, 2):
            headers = {"X-Request-Id": f"id {len(told)}"}
            async with session.post(f"{url}/chat/completions", json=body(seed=seed), headers=headers) as reply:
                said = json.loads((await reply.json())["choices"][0]["message"]["content"])
                told.append((said["seed"], reply.headers["X-Request-Id"]))
    assert told == [(1, "id 0"), (1, "id 0"), (2, "id 2")]


async def test_ids_come_back_only_where_that_is_dialled():
    async with running(make_app({"m": mirror})) as url, aiohttp.ClientSession() as session:
        headers = {"X-Request-Id": "mine"}
        async with session.post(f"{url}/chat/completions", json=body(), headers=headers) as reply:
            assert "X-Request-Id" not in reply.headers


def test_every_fault_has_its_test():
    source = Path(__file__).read_text()
    assert [fault for fault in FAULTS if f'"{fault}"' not in source] == []


async def test_the_first_attempt_may_fail_and_the_second_succeed():
    async with faulty("500", max_faults_per_request=1) as url:
        for asked in (body(), body(seed=8)):
            assert [(await post(url, asked))[0] for _ in range(3)] == [500, 200, 200]
        counts = await stats(url)
    assert counts["statuses"] == {"500": 2, "200": 4}
    assert counts["repeats"] == 4
    # What is struck early never reached the model.
    assert counts["models"]["m"]["choices"] == 4


async def test_faults_are_drawn_from_seed_body_and_attempt_alone():
    async def statuses(fault_seed: int, seeds: range) -> list[list[int]]:
        dials = Dials(faults={"500": 0.3, "503": 0.2}, fault_seed=fault_seed)
        async with running(make_app({"m": mirror}, dials)) as url:
            lots: dict[int, list[int]] = {
                seed: [] for seed in seeds
            }  # a loop: 3.10 cannot await inside nested ones
            for seed in seeds:
                for _ in range(3):
                    lots[seed].append((await post(url, body(seed=seed)))[0])
        return [lots[seed] for seed in sorted(lots)]

    forth, back = await statuses(1, range(30)), await statuses(1, range(29, -1, -1))
    assert forth == back
    assert forth != await statuses(2, range(30))
    # The attempt counts: few bodies fare alike three times.
    assert sum(len(set(attempts)) == 1 for attempts in forth) < 15
    drawn = [status for attempts in forth for status in attempts]
    assert 15 <= drawn.count(500) <= 39
    assert 8 <= drawn.count(503) <= 28


async def test_a_retry_after_a_content_fault_says_what_the_first_attempt_would_have_said():
    dials = Dials(faults={"null-content": 1.0}, max_faults_per_request=1)
    async with running(make_app({"m": mirror}, dials)) as url, running(make_app({"m": mirror})) as calm:
        await post(url, body(n=2))
        (_, second), (_, never) = await post(url, body(n=2)), await post(calm, body(n=2))
    assert second["choices"] == never["choices"]
