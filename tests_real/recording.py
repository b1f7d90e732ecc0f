"""A witness between a run and a real server: every prompt, in the tokens that the server made of it."""

import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

_LEFT_OUT = {"host", "content-length", "transfer-encoding", "content-encoding", "connection", "accept-encoding"}


class Endless:
    """A prefix cache that forgets nothing. As vLLM's: full blocks, and a prompt's last token is always computed."""

    def __init__(self, block: int) -> None:
        self._block = block
        self._known: set[bytes] = set()

    def held(self, tokens: Sequence[object]) -> int:
        """How many of a prompt's tokens are in it, from the first on."""
        chain = self._chain(tokens)[: max(0, len(tokens) - 1) // self._block]
        return self._block * next((i for i, key in enumerate(chain) if key not in self._known), len(chain))

    def keep(self, tokens: Sequence[object]) -> None:
        """Put all full blocks of a text into it."""
        self._known.update(self._chain(tokens))

    def _chain(self, tokens: Sequence[object]) -> list[bytes]:
        key, chain = b"", []
        for start in range(0, len(tokens) - self._block + 1, self._block):
            block = repr(list(tokens[start : start + self._block])).encode()
            key = hashlib.blake2b(block, key=key, digest_size=16).digest()
            chain.append(key)
        return chain


@dataclass
class Witness:
    """What went by."""

    url: str
    """Where a run sends its requests."""
    cache: Endless
    prompts: list[list[object]] = field(default_factory=list)
    """The tokens of prompts, one for each sample of a request, as vLLM runs them."""
    could: int = 0
    """Tokens of them that the endless cache held when the request came."""
    told: int = 0
    """Cached tokens that the server told of in the replies."""
    refused: int = 0
    """Requests that were not answered with a reply."""


@contextlib.asynccontextmanager
async def witnessed(server_url: str, block: int, image_pad: int | None = None) -> AsyncIterator[Witness]:
    """Stand between: requests are handed on as they are, but for the wish to be told the token ids.

    What an endless cache would have held is counted at the end, in the order in which requests came, as if each
    were read to its end before the next one. No real one can hold more: it has several under way at once.

    Args:
        server_url: the server's base URL, which ends in /v1.
        block: its block size in tokens.
        image_pad: the token that holds an image's places; images count as the same where their bytes are.
    """
    root = server_url.removesuffix("/v1")
    waiting: list[tuple[int, str, list[int], list[list[int]]]] = []
    came = 0
    witness = Witness("", Endless(block))

    async def hand_on(request: web.Request) -> web.Response:
        nonlocal came
        body = await request.read()
        asked = json.loads(body) if body and "completions" in request.path else None
        number, came = came, came + bool(asked)
        if asked:
            body = json.dumps({**asked, "return_token_ids": True}).encode()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _LEFT_OUT}
        async with session.request(request.method, root + request.path_qs, data=body, headers=headers) as response:
            answer = await response.read()
        if asked and response.status == 200:
            said = json.loads(answer)
            ids = said.get("prompt_token_ids") or said["choices"][0]["prompt_token_ids"]
            waiting.append((number, _images(asked), ids, [choice["token_ids"] for choice in said["choices"]]))
            witness.told += (said["usage"].get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        elif asked:
            witness.refused += 1
        headers = {name: value for name, value in response.headers.items() if name.lower() not in _LEFT_OUT}
        return web.Response(body=answer, status=response.status, headers=headers)

    def count() -> None:
        for _, images, prompt, replies in sorted(waiting):
            tokens: list[object] = [images if token == image_pad else token for token in prompt]
            for _ in replies:
                witness.prompts.append(tokens)
                witness.could += witness.cache.held(tokens)
                witness.cache.keep(tokens)
            for reply in replies:
                witness.cache.keep([*tokens, *reply])

    app = web.Application(client_max_size=1 << 28)
    app.router.add_route("*", "/{path:.*}", hand_on)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        witness.url = f"http://{host}:{port}/v1"
        timeout = aiohttp.ClientTimeout(total=None)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector, auto_decompress=True) as session:
            yield witness
    finally:
        await runner.cleanup()
        count()


def _images(asked: dict[str, Any]) -> str:
    """The images of a request, by their bytes."""
    turns = [message["content"] for message in asked.get("messages", [])]
    parts = [part for turn in turns if isinstance(turn, list) for part in turn]
    urls = [part["image_url"]["url"] for part in parts if "image_url" in part]
    return hashlib.blake2b("\n".join(urls).encode(), digest_size=16).hexdigest() if urls else ""
