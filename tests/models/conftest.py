"""What the tests of the models share: scripted servers over real HTTP, the simulated one, and time that obeys."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeAlias

import pytest
from aiohttp import web

from lpt.models.base import Image, Message, Reply, Request, Sampling
from lpt.models.endpoint import Endpoint
from lpt.models.patience import Clock
from lpt.serving.app import make_app
from lpt.serving.dials import Dials
from lpt.serving.protocol import Responder
from lpt.serving.serve import running
from lpt.settings import ModelSettings
from tests.serving.helpers import mirror

CANARY = "sk-canary-7b1f0c55"


class Now(Clock):
    """Sleeping takes no time and moves the clock on; chance is always the same."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.at

    def wall(self) -> float:
        return 1_700_000_000.0 + self.at

    def chance(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


Answer: TypeAlias = "web.StreamResponse | Callable[[web.Request], Any]"


class Script:
    """A server that answers what it is told to, one after the other, the last one again and again."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.answers = list(answers)
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.queries: list[str] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        self.queries.append(request.query_string)
        self.headers.append(dict(request.headers))
        self.bodies.append(json.loads(await request.read() or b"{}"))
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if callable(answer):
            answer = answer(request)
            if not isinstance(answer, web.StreamResponse):
                answer = await answer
        # A response can be sent but once.
        if isinstance(answer, web.Response):
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        return answer


def choice(text: str | None = "fine", index: int = 0, **message: Any) -> dict[str, Any]:
    return {"index": index, "message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}


def good(*choices: dict[str, Any], **more: Any) -> web.Response:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
    return web.json_response({"model": "m", "choices": choices or [choice()], "usage": usage, **more})


def bad(status: int, words: str = "no", **headers: str) -> web.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.json_response({"error": {"message": words}}, status=status, headers=named)


@contextlib.asynccontextmanager
async def scripted(*answers: Answer) -> AsyncIterator[Script]:
    script = Script(answers or [good()])
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", script.handle)
    async with running(app) as url:
        script.url = url
        yield script


@contextlib.asynccontextmanager
async def simulated(responder: Responder = mirror, **dials: Any) -> AsyncIterator[str]:
    """The simulated server with one model, `m`, that says what it was asked."""
    async with running(make_app({"m": responder}, Dials(**dials))) as url:
        yield url


@contextlib.asynccontextmanager
async def endpoint(
    *urls: str,
    clock: Clock | None = None,
    stop: asyncio.Event | None = None,
    say: Callable[[str], None] = lambda _: None,
    **settings: Any,
) -> AsyncIterator[Endpoint]:
    made = Endpoint(
        ModelSettings(model="m", **settings), urls, name="one", clock=clock or Now(), stop=stop, say=say
    )
    try:
        yield made
    finally:
        await made.close()


def ask(text: str = "hi", *, n: int = 1, prefill: str | None = None, **more: Any) -> Request:
    images: tuple[Image, ...] = more.pop("images", ())
    sampling = more.pop("sampling", Sampling(temperature=0.7, max_tokens=64))
    values = {"stage": "think", "record": "r", "seed": 7, **more}
    return Request(messages=(Message("user", text, images),), prefill=prefill, n=n, sampling=sampling, **values)


def texts(reply: Reply) -> list[str]:
    return [choice.text for choice in reply.choices]


def seeds(reply: Reply) -> list[int]:
    """The seeds under which a mirror spoke."""
    return [json.loads(choice.text)["seed"] for choice in reply.choices]


@pytest.fixture
def now() -> Now:
    return Now()
