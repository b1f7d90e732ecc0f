"""Short hands for asking a real server, through our own code and past it."""

import re
from typing import Any

import aiohttp
import msgspec

from conftest import Server
from lpt.chat import Template
from lpt.models import dialects
from lpt.models.base import Image, Message, Request, Sampling
from lpt.models.dialects import Dialect, Way
from lpt.models.endpoint import Endpoint
from lpt.settings import ModelSettings

Body = dict[str, Any]


def settings(server: Server, **more: Any) -> ModelSettings:
    """A recipe's model at a server."""
    return msgspec.convert({"model": server.model, "url": server.url, **more}, ModelSettings)


def endpoint(server: Server, **more: Any) -> Endpoint:
    """Our own client of a server."""
    return Endpoint(settings(server, **more), (server.url,))


def asked(
    *texts: str,
    prefill: str | None = None,
    images: tuple[Image, ...] = (),
    n: int = 1,
    seed: int = 7,
    schema: Body | None = None,
    **sampling: Any,
) -> Request:
    """A request: `texts` are the turns, the user's first."""
    roles = ("user", "assistant")
    messages = [Message(roles[i % 2], text, images if i == 0 else ()) for i, text in enumerate(texts)]
    return Request(
        stage="real",
        record="real",
        messages=tuple(messages),
        prefill=prefill,
        sampling=Sampling(**{"max_tokens": 16, "temperature": 0.0, **sampling}),
        schema=schema,
        seed=seed,
        n=n,
    )


async def post(server: Server, path: str, fields: Body) -> tuple[int, Body]:
    """One HTTP request, as it is: status and body. A path that begins with / is below the server's root."""
    url = server.url.removesuffix("/v1") + path
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as session:
        response = await session.post(url, data=msgspec.json.encode(fields))
        return response.status, msgspec.json.decode(await response.read())


async def get(server: Server, path: str) -> Body:
    """What a server says of itself, below its root."""
    url = server.url.removesuffix("/v1") + path
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200, path
        return msgspec.convert(msgspec.json.decode(await response.read()), Body)


async def counted(server: Server, *names: str) -> list[int]:
    """vLLM's own counters since it was started, by their names behind `vllm:`."""
    url = server.url.removesuffix("/v1") + "/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        lines = (await response.text()).splitlines()
    found = dict.fromkeys(names, 0)
    for line in lines:
        match = re.match(r"vllm:(\w+)\{", line)
        if match and match[1] in found:
            found[match[1]] += int(float(line.rpartition(" ")[2]))
    return list(found.values())


async def prompt_ids(server: Server, request: Request, dialect: Dialect) -> list[int]:
    """The token ids of the prompt that the model was given, for a request in a dialect: the server's own word."""
    template = Template.load(str(server.folder)) if dialect == "completions" else None
    path, fields = dialects.body(request, settings(server), Way(dialect), template, "real")
    status, body = await post(server, f"/v1{path}", {**fields, "return_token_ids": True})
    assert status == 200, body
    ids = body.get("prompt_token_ids") or body["choices"][0].get("prompt_token_ids")
    assert ids, f"no token ids in {body}"
    return [int(token) for token in ids]


async def token_ids(server: Server, text: str) -> list[int]:
    """A text's tokens, with no mark put before it."""
    fields = {"model": server.model, "prompt": text, "add_special_tokens": False}
    status, body = await post(server, "/tokenize", fields)
    assert status == 200, body
    return [int(token) for token in body["tokens"]]


async def decoded(server: Server, ids: list[int]) -> str:
    """Token ids as text, marks included."""
    status, body = await post(server, "/detokenize", {"model": server.model, "tokens": ids})
    assert status == 200, body
    return str(body["prompt"])
