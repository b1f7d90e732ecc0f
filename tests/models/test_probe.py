"""Finding out how a server continues a turn."""

import asyncio

import pytest
from aiohttp import web

from lpt.errors import Denied, UserError
from lpt.models import probe
from tests.models.conftest import Answer, Script, ask, bad, choice, endpoint, good, scripted, simulated, texts

BEGUN = "one, two, three, four, fi"


def server_of(servers: list[Script], owner: str | None, continues: str | None, restarts: str) -> Answer:
    """A server with a name, which truly continues a turn in one way alone."""

    def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/models"):
            return web.json_response({"data": [{"id": "m", "owned_by": owner}]}) if owner else bad(404)
        script = servers[-1]
        body = script.bodies[-1]
        last = body["messages"][-1]
        way = {
            "continue": body.get("continue_final_message", False),
            "prefix": last.get("prefix", False),
            "trailing": last["role"] == "assistant" and len(last) == 2 and "continue_final_message" not in body,
        }
        if continues and way[continues]:
            return good(choice("ve, six, seven" if last["content"] == BEGUN else "continued"))
        return good(choice(restarts))

    return answer


async def dialect_of(owner: str | None, continues: str | None = None, restarts: str = "one, two") -> list[str]:
    """What a request with a prefill gets, and the paths that were asked on the way."""
    servers: list[Script] = []
    answer = server_of(servers, owner, continues, restarts)
    async with scripted(answer) as server, endpoint(server.url) as model:
        servers.append(server)
        assert texts(await model.ask(ask(prefill="a thought"))) == ["continued"]
        await model.ask(ask(prefill="a thought"))
        assert server.paths.count("/v1/models") == 1, "found out once"
        # What `manners` looks up beside the protocol is its own matter.
        return [path for path in server.paths if path != "/apply-template"]


@pytest.mark.parametrize(
    ("owner", "way"),
    [
        ("vllm", "continue"),
        ("sglang", "continue"),
        ("lpt-sim", "continue"),
        ("llamacpp", "trailing"),
        ("library", "trailing"),
    ],
)
async def test_a_server_that_says_its_name_is_believed(owner, way):
    assert len(await dialect_of(owner, way)) == 3


@pytest.mark.parametrize(("way", "tries"), [("continue", 1), ("prefix", 2), ("trailing", 3)])
@pytest.mark.parametrize("owner", ["somebody", None])
async def test_a_server_that_does_not_is_tried(owner, way, tries):
    assert len(await dialect_of(owner, way)) == 3 + tries


@pytest.mark.parametrize(
    "restarts",
    [
        "one, two, three",
        "one, two, three, four, five, six",
        "five, six, seven",
        "five",
        "",
        "I will continue: ve",
    ],
)
async def test_a_server_that_starts_over_is_found_out(restarts):
    with pytest.raises(UserError, match=r'models\.one\.prefill = "instructed".*"completions"'):
        await dialect_of("openai", None, restarts)


async def test_a_server_that_refuses_some_ways_is_asked_in_the_others():
    def picky(request: web.Request) -> web.Response:
        if request.path.endswith("/models"):
            return web.Response(text="<html>")
        body = server.bodies[-1]
        return good(choice("ve, six")) if "prefix" in body["messages"][-1] else bad(400, "unknown field")

    async with scripted(picky) as server, endpoint(server.url) as model:
        await model.ask(ask(prefill="a thought"))
        assert server.bodies[-1]["messages"][-1] == {"role": "assistant", "content": "a thought", "prefix": True}


async def test_a_wrong_key_is_not_taken_for_inability():
    async with scripted(bad(401)) as server, endpoint(server.url) as model:
        with pytest.raises(Denied):
            await model.ask(ask(prefill="a thought"))


async def test_deepseek_is_known_by_its_host():
    class Deepseek:
        host = "api.deepseek.com"

    assert await probe.detect(Deepseek(), "one") == "prefix"  # type: ignore[arg-type]


async def test_nothing_is_asked_before_a_prefill_needs_it_and_then_once():
    async with simulated() as url, endpoint(url) as model:
        await model.ask(ask())
        assert model.stats.requests == 1
        await asyncio.gather(*(model.ask(ask(str(i), prefill="a")) for i in range(20)))
        assert model.stats.requests == 21
