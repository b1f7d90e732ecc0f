"""What the tests of the server share: a responder that shows what it was given, and a client that sees bytes."""

import asyncio
import base64
import io
import json
from collections.abc import Callable
from typing import Any

import aiohttp
from PIL import Image

from lpt.serving.protocol import Ask, Responder, Said


def mirror(ask: Ask, seed: int) -> Said:
    """Say what was asked, so that a test reads in the reply what reached the responder."""
    seen = [[turn.role, turn.text, len(turn.images)] for turn in ask.turns]
    return Said(json.dumps({"seed": seed, "turns": seen, "prefill": ask.prefill}))


def says(text: str, **more: Any) -> Responder:
    """A responder that always says the same."""
    return lambda ask, seed: Said(text, **more)


def png(width: int = 56, height: int = 28, colour: str = "red") -> str:
    """A data URL."""
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def user(text: str, *images: str) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in images]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def assistant(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def body(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages or [user("hi")]), "seed": 7, **more}


async def post(url: str, asked: dict[str, Any], route: str = "/chat/completions") -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.post(url + route, json=asked) as reply:
        return reply.status, json.loads(await reply.read())


async def said(url: str, asked: dict[str, Any], route: str = "/chat/completions") -> list[Any]:
    """The choices' texts."""
    status, reply = await post(url, asked, route)
    assert status == 200, reply
    return [choice["message"]["content"] if "message" in choice else choice["text"] for choice in reply["choices"]]


async def stats(url: str) -> Any:
    root = url.removesuffix("/v1")
    async with aiohttp.ClientSession() as session, session.get(root + "/sim/stats") as reply:
        return await reply.json()


async def until(holds: Callable[[], bool]) -> None:
    """Let others run until something holds; a test that waits in vain fails after five seconds."""

    async def wait() -> None:
        while not holds():  # noqa: ASYNC110 - counts do not announce themselves
            await asyncio.sleep(0)

    await asyncio.wait_for(wait(), 5)


class Wire:
    """One raw connection: nothing is interpreted, nothing is retried."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes) -> None:
        self.reader = reader
        self.writer = writer
        self._sent = sent
        self.again()

    @classmethod
    async def send(cls, url: str, asked: bytes, connection: str = "close") -> "Wire":
        host, port = url.split("/")[2].split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 24)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n"
        return cls(reader, writer, head.encode() + b"Content-Length: %d\r\n\r\n" % len(asked) + asked)

    def again(self) -> None:
        """Send the same once more."""
        self.writer.write(self._sent)

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        return int(lines[0].split()[1]), headers

    async def rest(self) -> bytes:
        return await self.reader.read(-1)

    def close(self) -> None:
        self.writer.close()


async def exchange(url: str, asked: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    wire = await Wire.send(url, json.dumps(asked).encode())
    try:
        return *await wire.head(), await wire.rest()
    finally:
        wire.close()
