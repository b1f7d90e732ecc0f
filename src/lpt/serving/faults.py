"""Faults on the wire: which one strikes is drawn repeatably, and what it looks like is what real servers do."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Mapping
from email.utils import formatdate
from hashlib import blake2b
from time import time
from typing import Any

import msgspec
from aiohttp import web

from lpt.serving.dials import FAULTS, Dials
from lpt.serving.wire import Reply, RequestError

# These strike before the model is asked: nothing is computed, nothing is cached.
EARLY = frozenset(
    {"429", "429-after", "500", "502", "503", "reset", "silent", "stall", "html", "error-200", "redirect"}
)

_HTML = b"<!doctype html><html><head><title>%s</title></head><body><h1>%s</h1><hr>proxy</body></html>\n"
_MESSAGES = {500: "EngineCore encountered an issue.", 503: "The server is overloaded. Please try again later."}
_JSON = {"Content-Type": "application/json"}


class FaultBook:
    """Draws faults; knows how often each body came and how often it was struck."""

    def __init__(self, dials: Dials) -> None:
        self._shares = [(name, dials.faults[name]) for name in FAULTS if dials.faults.get(name)]
        self._key = dials.fault_seed.to_bytes(16, "little", signed=True)
        self._most = dials.max_faults_per_request
        self._seen: dict[bytes, tuple[int, int]] = {}

    def came(self, digest: bytes) -> int:
        """How often a body was drawn for."""
        return self._seen.get(digest, (0, 0))[0]

    def draw(self, digest: bytes) -> str | None:
        """Count one more attempt of a body, and say which fault strikes this time."""
        attempt, struck = self._seen.get(digest, (0, 0))
        fault = None
        if self._shares and (self._most is None or struck < self._most):
            drawn = blake2b(digest + attempt.to_bytes(8, "little"), key=self._key, digest_size=8).digest()
            fault = _pick(self._shares, int.from_bytes(drawn, "little") / 2**64)
        self._seen[digest] = (attempt + 1, struck + (fault is not None))
        return fault


def _pick(shares: list[tuple[str, float]], point: float) -> str | None:
    for name, share in shares:
        if point < share:
            return name
        point -= share
    return None


def too_many(dials: Dials, wait: int | None) -> web.Response:
    """A 429, with Retry-After in the form that is dialled when there is a wait to name."""
    headers: dict[str, str] = {}
    if wait is not None and dials.retry_after != "none":
        date = dials.retry_after == "date"
        headers["Retry-After"] = formatdate(time() + wait, usegmt=True) if date else str(wait)
    error = RequestError("Rate limit reached.", status=429, kind="RateLimitError")
    return web.Response(status=429, body=error.body(), headers=headers | _JSON)


async def strike(fault: str, request: web.Request, dials: Dials) -> web.StreamResponse:
    """Answer with one of the `EARLY` faults."""
    if fault in ("429", "429-after"):
        return too_many(dials, dials.retry_after_seconds if fault == "429-after" else None)
    if fault in ("500", "503"):
        error = RequestError(_MESSAGES[int(fault)], status=int(fault), kind="InternalServerError")
        return web.Response(status=error.status, body=error.body(), headers=_JSON)
    if fault in ("502", "html"):
        title = b"502 Bad Gateway" if fault == "502" else b"Just a moment..."
        status = 502 if fault == "502" else 200
        return web.Response(status=status, body=_HTML % (title, title), headers={"Content-Type": "text/html"})
    if fault == "error-200":
        return web.Response(body=RequestError("upstream timed out", status=500).body(), headers=_JSON)
    if fault == "redirect":
        return web.Response(status=307, headers={"Location": "/sim/elsewhere"})
    if fault == "reset":
        return _reset(request)
    response = web.StreamResponse(headers=_JSON)
    if fault == "stall":
        response.content_length = 1000
        await response.prepare(request)
    await asyncio.Event().wait()  # until the client gives up or the server ends: both cancel us
    return response


def _reset(request: web.Request) -> web.Response:
    hang_up(request)
    return web.Response()  # goes nowhere


def hang_up(request: web.Request) -> None:
    """Break the connection off, as a process that dies does."""
    transport = request.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        if sock is not None:  # lingering for zero seconds turns the orderly FIN into a RST
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


def spoil(fault: str, reply: Reply) -> bytes:
    """The body of a good reply after a fault that strikes its content."""
    body = msgspec.json.encode(reply)
    if fault == "cut-json":
        return body[: len(body) // 2]
    wire: dict[str, Any] = msgspec.to_builtins(reply)
    choices: list[dict[str, Any]] = wire["choices"]
    if fault in ("fewer-choices", "no-choices", "ignore-n"):
        left = {"fewer-choices": len(choices) - 1, "no-choices": 0, "ignore-n": 1}[fault]
        wire["choices"] = choices[:left]
    if fault == "stranger":
        wire["model"] = "somebody-else"
    # One huge text is enough: the mark where it is blown up stands once.
    for choice in wire["choices"][: 1 if fault == "huge" else None]:
        _garble(fault, choice)
    body = msgspec.json.encode(wire)
    if fault == "invalid-utf8":
        return body.replace(_MARK, b"caf\xe9 \xff\xfe")
    return body


_MARK = b"[[spoilt here]]"


def _garble(fault: str, choice: dict[str, Any]) -> None:
    holder, key = (choice["message"], "content") if "message" in choice else (choice, "text")
    text: str = holder[key] or ""
    texts: Mapping[str, Any] = {
        "wrong-type": 42,
        "invalid-utf8": _MARK.decode() + text,
        "huge": _MARK.decode() + text,
        "null-content": None,
        "content-filter": "",
        "length": text[: len(text) // 2],
        "stranger": "The capital of France is Paris.",
    }
    if fault in texts:
        holder[key] = texts[fault]
    if fault in ("content-filter", "length"):
        choice["finish_reason"] = fault.replace("-", "_")


async def trickle(fault: str, body: bytes, request: web.Request, dials: Dials) -> web.StreamResponse:
    """Send a spoilt body in the way of the fault: cut off, byte by byte, or blown up."""
    if fault == "mislabelled":
        return web.Response(body=body, headers={"Content-Type": "text/plain"})
    if fault not in ("cut", "slow", "huge"):
        return web.Response(body=body, headers=_JSON)
    response = web.StreamResponse(headers=_JSON)
    head, mark, tail = body.partition(_MARK) if fault == "huge" else (body, b"", b"")
    response.content_length = len(head) + len(tail) + (dials.huge_bytes if mark else 0)
    # A client that has seen enough hangs up in the middle: that is its right, and no error of ours.
    with contextlib.suppress(ConnectionError):
        await response.prepare(request)
        if fault == "cut":
            await response.write(body[: len(body) // 2])
            if request.transport is not None:
                request.transport.close()  # what was written still goes out
        elif fault == "slow":
            for i in range(len(body)):
                await response.write(body[i : i + 1])
                await asyncio.sleep(dials.slow_seconds)
        else:
            await response.write(head)
            for start in range(0, dials.huge_bytes, 1 << 20):
                await response.write(b"x" * min(1 << 20, dials.huge_bytes - start))
            await response.write(tail)
    return response
