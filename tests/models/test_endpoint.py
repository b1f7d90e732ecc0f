"""The endpoint over real HTTP: what it sends and what it reads."""

import base64

import pytest
from aiohttp import web

from lpt.errors import Refused, UserError
from lpt.models.base import Image, Sampling
from tests.models.conftest import (
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
