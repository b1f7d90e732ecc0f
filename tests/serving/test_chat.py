import asyncio
import json
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpt.errors import UserError
from lpt.serving.app import make_app
from lpt.serving.dials import Dials
from lpt.serving.protocol import Ask, Said
from lpt.serving.serve import running
from tests.serving.helpers import assistant, body, mirror, png, post, said, says, stats, user

CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}


async def seen(dials: Dials | None = None, route: str = "/chat/completions", **asked: Any) -> Any:
    """What reached the responder."""
    async with running(make_app({"m": mirror}, dials)) as url:
        (text,) = await said(url, {"model": "m", "seed": 7, **asked}, route)
        return json.loads(text)


async def refused(dials: Dials | None = None, route: str = "/chat/completions", **asked: Any) -> tuple[int, str]:
    async with running(make_app({"m": mirror}, dials)) as url:
        status, reply = await post(url, {"model": "m", **asked}, route)
        assert reply["error"]["code"] == status
        return status, reply["error"]["message"]


async def test_a_reply_has_what_the_protocol_promises():
    async with running(make_app({"m": says("A red square.", reasoning="Hm.")})) as url:
        status, reply = await post(url, body(user("What is it?"), n=2, unheard_of=[1]))
    assert status == 200
    assert reply["object"] == "chat.completion"
    assert reply["model"] == "m"
    assert [c["index"] for c in reply["choices"]] == [0, 1]
    message = {"role": "assistant", "content": "A red square.", "reasoning_content": "Hm."}
    assert reply["choices"][1]["message"] == message
    assert reply["choices"][1]["finish_reason"] == "stop"
    usage = reply["usage"]
    assert usage["completion_tokens"] == 2 * (4 + 2)
    assert usage["total_tokens"] == usage["prompt_tokens"] + 12


async def test_turns_come_with_their_text_and_images():
    got = await seen(
        messages=[{"role": "system", "content": "s"}, user("q", png(), png()), assistant("a"), user("r")]
    )
    assert got == {
        "seed": 7,
        "turns": [["system", "s", 0], ["user", "q", 2], ["assistant", "a", 0], ["user", "r", 0]],
        "prefill": None,
    }


async def test_images_reach_the_responder_byte_for_byte():
    images: list[bytes] = []

    def keep(ask: Ask, seed: int) -> Said:
        images.extend(ask.turns[0].images)
        return Said("")

    async with running(make_app({"m": keep})) as url:
        await said(url, body(user("q", png(colour="blue"))))
    assert images[0].startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1/a.png", "data:"),
        ("file:///etc/hostname", "data:"),
        ("data:image/png;base64,####", "image"),
        ("data:image/png;base64,aGVsbG8=", "image"),
    ],
)
async def test_only_readable_images_in_data_urls_are_taken(url, told):
    status, message = await refused(messages=[user("q", url)])
    assert status == 400
    assert told in message


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(-(2**40), 2**40),
    n=st.integers(1, 6),
    temperature=st.sampled_from([None, 0.7, 1.5]),
    order=st.randoms(use_true_random=False),
    threads=st.sampled_from([0, 2]),
    width=st.sampled_from([0, 2]),
)
def test_choice_i_of_seed_s_is_choice_0_of_seed_s_plus_i(seed, n, temperature, order, threads, width):
    async def check() -> None:
        dials = Dials(threads=threads, concurrency=width)
        async with running(make_app({"m": mirror}, dials)) as url:
            together = await said(url, body(seed=seed, n=n, temperature=temperature))
            lots = list(range(n))
            order.shuffle(lots)
            alone = await asyncio.gather(*(said(url, body(seed=seed + i, temperature=temperature)) for i in lots))
            assert together == [alone[lots.index(i)][0] for i in range(n)]
            assert [json.loads(text)["seed"] for text in together] == [seed + i for i in range(n)]

    asyncio.run(check())


async def test_without_a_seed_each_request_draws_its_own():
    async with running(make_app({"m": mirror})) as url:
        first, second = [json.loads((await said(url, body(seed=None)))[0])["seed"] for _ in range(2)]
    assert first != second


async def test_greedy_sampling_knows_no_seed_and_one_choice():
    assert (await seen(messages=[user("q")], temperature=0))["seed"] == 0
    status, message = await refused(messages=[user("q")], temperature=0, n=2)
    assert (status, message) == (400, "n must be 1 when using greedy sampling, got 2.")


@pytest.mark.parametrize(
    ("prefill", "more", "last", "continues"),
    [
        ("continue", CONTINUE, {}, True),
        ("continue", {}, {}, False),
        ("continue", {}, {"prefix": True}, False),
        ("trailing", {}, {}, True),
        ("prefix", {}, {"prefix": True}, True),
        ("prefix", CONTINUE, {}, False),
        ("all", CONTINUE, {}, True),
        ("all", {}, {}, True),
        ("all", {}, {"prefix": True}, True),
        ("ignored", CONTINUE, {"prefix": True}, False),
        ("ignored", {"continue_final_message": True}, {}, False),
    ],
)
async def test_a_server_continues_the_assistants_turn_in_the_ways_that_it_knows(prefill, more, last, continues):
    got = await seen(Dials(prefill=prefill), messages=[user("q"), assistant("so far", **last)], **more)
    assert got["prefill"] == ("so far" if continues else None)
    assert got["turns"] == [["user", "q", 0]] + ([] if continues else [["assistant", "so far", 0]])


@pytest.mark.parametrize(
    "asked",
    [
        {"messages": [user("q"), assistant("a")], "continue_final_message": True},
        {"messages": [user("q")], **CONTINUE},
        {"messages": [{**user("q"), "prefix": True}]},
    ],
)
async def test_a_turn_that_cannot_be_continued_is_refused(asked):
    assert (await refused(**asked))[0] == 400


async def test_the_space_after_a_prefix_stays_unless_the_template_trims():
    messages = [user("q"), assistant("Wait, ")]
    assert (await seen(messages=messages))["prefill"] == "Wait, "
    assert (await seen(Dials(trims_prefill=True), messages=messages))["prefill"] == "Wait,"


async def test_echo_repeats_the_prefix_and_only_then():
    async with running(make_app({"m": says(" no.")})) as url:
        prefix = [user("q"), assistant("Wait,")]
        assert await said(url, body(*prefix, echo=True)) == ["Wait, no."]
        assert await said(url, body(*prefix)) == [" no."]
        assert await said(url, body(user("q"), echo=True)) == [" no."]


async def test_a_rendered_chat_reaches_the_responder_as_its_turns():
    prompt = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\nWait,"
    got = await seen(route="/completions", prompt=prompt, max_tokens=99)
    assert got == {"seed": 7, "turns": [["user", "q", 0]], "prefill": "Wait,"}


async def test_messages_and_their_rendered_text_cost_the_same_tokens():
    prompt = "<|im_start|>user\nWhat is  it?\n<|im_end|>\n<|im_start|>assistant\nWait, 123"
    async with running(make_app({"m": says("x")})) as url:
        _, raw = await post(url, {"model": "m", "prompt": prompt}, "/completions")
        _, chat = await post(url, body(user("What is  it?\n"), assistant("Wait, 123")))
    assert raw["usage"]["prompt_tokens"] == chat["usage"]["prompt_tokens"]


async def test_completions_echo_the_prompt_and_stop_early_by_default():
    async with running(make_app({"m": says(" ab" * 50)})) as url:
        ask = {"model": "m", "prompt": "p"}
        assert await said(url, ask, "/completions") == [" ab" * 16]
        assert await said(url, {**ask, "echo": True, "max_tokens": 1}, "/completions") == ["p ab"]
        assert await said(url, {**ask, "echo": True, "max_tokens": 0}, "/completions") == ["p"]
        _, reply = await post(url, {**ask, "echo": True, "max_tokens": 0}, "/completions")
    assert reply["usage"]["completion_tokens"] == 0
    assert (await refused(route="/completions", prompt="p", max_tokens=0))[0] == 400
    assert (await refused(route="/completions", prompt=[1, 2]))[0] == 400


@pytest.mark.parametrize(
    ("more", "text", "reason"),
    [
        ({}, "one two. three", "stop"),
        ({"max_tokens": 2}, "one two", "length"),
        ({"max_completion_tokens": 3, "max_tokens": 1}, "one two.", "length"),
        ({"stop": "two"}, "one ", "stop"),
        ({"stop": ["three", " two"]}, "one", "stop"),
        ({"stop": "three", "max_tokens": 3}, "one two.", "length"),
    ],
)
async def test_limits_and_stops_hold_whatever_the_responder_says(more, text, reason):
    async with running(make_app({"m": says("one two. three")})) as url:
        _, reply = await post(url, body(**more))
    choice = reply["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (text, reason)


async def test_thinking_apart_spends_the_same_tokens():
    async with running(make_app({"m": says("answer is two", reasoning="one two three")})) as url:
        _, reply = await post(url, body(max_tokens=2))
        _, longer = await post(url, body(max_tokens=4))
    choice = reply["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "", "reasoning_content": "one two"}
    assert (choice["finish_reason"], reply["usage"]["completion_tokens"]) == ("length", 2)
    assert longer["choices"][0]["message"]["content"] == "answer"
    assert longer["usage"]["completion_tokens"] == 4


async def test_the_responder_is_told_what_shapes_its_words():
    asks: list[Ask] = []

    def keep(ask: Ask, seed: int) -> Said:
        asks.append(ask)
        return Said("")

    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    wrapped = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    more = {"stop": "x", "bad_words": ["the caption"], "max_tokens": 5, "temperature": 0.7}
    async with running(make_app({"m": keep})) as url:
        await said(url, body(response_format=wrapped, **more))
        await said(url, body(response_format={"type": "json_object"}))
        await said(url, body(response_format={"type": "text"}))
        status, _ = await post(url, body(response_format={"type": "json_schema"}))
    assert asks[0].schema == schema
    assert asks[0].bad_words == ("the caption",)
    assert (asks[0].stop, asks[0].max_tokens, asks[0].temperature) == (("x",), 5, 0.7)
    assert [ask.schema for ask in asks[1:]] == [{"type": "object"}, None]
    assert status == 400


@pytest.mark.parametrize(
    "asked",
    [
        {"messages": []},
        {"messages": "hi"},
        {"messages": [user("q")], "n": 0},
        {"messages": [user("q")], "temperature": -1},
        {"messages": [user("q")], "top_p": 0},
        {"messages": [user("q")], "repetition_penalty": 0},
        {"messages": [user("q")], "max_tokens": 0},
        {"messages": [user("q")], "seed": "7"},
        {"messages": [user("q")], "seed": 2**64},
        {"messages": [user("q")], "stop": ""},
        {"messages": [user("q")], "stream": True},
        {"messages": [{"role": "user", "content": [{"type": "video_url"}]}]},
        {},
    ],
)
async def test_what_vllm_refuses_is_refused(asked):
    status, message = await refused(**asked)
    assert status == 400
    assert message


async def test_a_body_that_is_no_json_is_refused():
    async with running(make_app({"m": mirror})) as url, aiohttp.ClientSession() as session:
        for raw in (b"", b"{", b'{"model": "\xff"}', b"[]", b'{"a":' + b"[" * 100_000):
            async with session.post(url + "/chat/completions", data=raw) as reply:
                assert reply.status == 400


async def test_an_unknown_model_is_not_found_and_the_only_one_needs_no_name():
    assert (await refused(**body(model="other"))) == (404, "The model `other` does not exist.")
    assert (await seen(model=None, messages=[user("q")]))["turns"] == [["user", "q", 0]]


async def test_a_prompt_longer_than_the_model_is_refused_and_replies_end_there():
    dials = Dials(max_model_len=20)
    status, message = await refused(dials, **body(user("word " * 20)))
    assert status == 400
    assert "maximum context length is 20 tokens" in message
    async with running(make_app({"m": says(" ab" * 50)}, dials)) as url:
        _, reply = await post(url, body(user("q")))
    assert reply["usage"]["total_tokens"] == 20
    assert reply["choices"][0]["finish_reason"] == "length"


async def test_a_responder_may_refuse_and_a_bug_in_it_is_a_500(caplog):
    def refuses(ask: Ask, seed: int) -> Said:
        raise UserError("show me a picture")

    def breaks(ask: Ask, seed: int) -> Said:
        raise RuntimeError("a bug")

    async with running(make_app({"m": refuses, "b": breaks})) as url, aiohttp.ClientSession() as session:
        status, reply = await post(url, body())
        assert (status, reply["error"]["message"]) == (400, "show me a picture")
        async with session.post(url + "/chat/completions", json=body(model="b")) as broken:
            assert broken.status == 500
        counts = await stats(url)
    assert counts["statuses"] == {"400": 1, "500": 1}
    assert counts["models"]["b"]["in_flight"] == counts["models"]["b"]["running"] == 0
    assert "a bug" in caplog.text


async def test_models_health_and_key():
    dials = Dials(owned_by="vllm", api_key="sesame", max_model_len=512)
    async with running(make_app({"a": mirror, "b": mirror}, dials)) as url, aiohttp.ClientSession() as session:
        key = {"Authorization": "Bearer sesame"}
        async with session.get(url + "/models", headers=key) as reply:
            listed = (await reply.json())["data"]
        async with session.get(url.removesuffix("/v1") + "/health") as reply:
            assert reply.status == 200
        async with session.get(url + "/models") as reply:
            assert reply.status == 401
        async with session.post(url + "/chat/completions", json=body(model="a")) as reply:
            assert reply.status == 401
        async with session.post(url + "/chat/completions", json=body(model="a"), headers=key) as reply:
            assert reply.status == 200
    assert [(m["id"], m["owned_by"], m["max_model_len"]) for m in listed] == [
        ("a", "vllm", 512),
        ("b", "vllm", 512),
    ]


async def test_a_body_beyond_the_limit_is_413():
    async with (
        running(make_app({"m": mirror}, Dials(max_body_bytes=1000))) as url,
        aiohttp.ClientSession() as session,
    ):
        async with session.post(url + "/chat/completions", json=body(user("x" * 2000))) as reply:
            assert reply.status == 413
        assert (await stats(url))["statuses"] == {"413": 1}
