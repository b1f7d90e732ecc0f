"""A model behind HTTP: one of the OpenAI-compatible protocol, at one URL or several."""

import asyncio
import email.utils
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from urllib.parse import urlsplit

import aiohttp
import msgspec

from lpt.chat import Template
from lpt.errors import BadReply, ModelError, Unavailable, UserError
from lpt.models import dialects, probe, wire
from lpt.models.base import Choice, Reply, Request, Usage
from lpt.settings import ModelSettings

_CONNECT_SECONDS = 30.0
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 60.0
_PATIENCE_429 = 1800.0
"""Seconds that a request waits out 429s, which are no attempts of its own, before it counts as failed."""
_ASIDE_SECONDS = 30.0
"""How long a replica that cannot be reached is left alone, where there are others."""

Sleep = Callable[[float], Awaitable[None]]


class Stats(msgspec.Struct):
    """What happened on the way, for whoever watches."""

    requests: int = 0
    retries: Counter[str] = msgspec.field(default_factory=Counter)
    failures: Counter[str] = msgspec.field(default_factory=Counter)


class _Busy(Exception):
    """A 429: come back later."""

    def __init__(self, words: str, after: float | None) -> None:
        super().__init__(words)
        self.after = after


class Endpoint:
    """A `Model` over HTTP. Retries what may pass; says clearly what will not."""

    def __init__(
        self,
        settings: ModelSettings,
        urls: Sequence[str],
        *,
        name: str = "model",
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self.name = name
        self.stats = Stats()
        self._urls = [url.rstrip("/") for url in urls]
        self._sleep = sleep
        self._clock = clock
        self._chance = chance
        self._session: aiohttp.ClientSession | None = None
        self._paused: dict[str, float] = {}
        self._aside: dict[str, float] = {}
        self._dialect: str | None = None if settings.prefill == "auto" else settings.prefill
        self._finding = asyncio.Lock()
        self._template = Template.load(settings.template) if settings.template else None
        self._headers = _headers(settings, name)

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()

    async def ask(self, request: Request) -> Reply:
        """Ask, and ask again where that may help; choices come in the order of their seeds.

        Raises:
            Unavailable, Refused, Denied, BadReply: as in `lpt.errors`.
            UserError: the server cannot continue a turn, and nothing was said about what to do then.
        """
        started = time.time()
        began = self._clock()
        choices: list[Choice] = []
        usage = Usage()
        attempts = 0
        # A server that gives fewer choices than asked for gave those of the first seeds: ask for the others.
        while len(choices) < request.n:
            rest = msgspec.structs.replace(request, seed=request.seed + len(choices), n=request.n - len(choices))
            answer, tries = await self._persist(rest)
            attempts += tries
            choices += answer.choices[: rest.n]
            usage = Usage(
                usage.prompt_tokens + answer.usage.prompt_tokens,
                usage.completion_tokens + answer.usage.completion_tokens,
                usage.cached_tokens + answer.usage.cached_tokens,
            )
        return Reply(
            choices=tuple(choices), usage=usage, attempts=attempts, started=started, seconds=self._clock() - began
        )

    async def get(self, path: str) -> bytes | None:
        """A GET of the first replica, such as /models; None where that fails."""
        try:
            async with self._open().get(self._urls[0] + path, allow_redirects=False) as response:
                return await response.read() if response.status == 200 else None
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
            return None

    @property
    def host(self) -> str:
        """The host of the first replica."""
        return urlsplit(self._urls[0]).hostname or ""

    async def _persist(self, request: Request) -> tuple[wire.Answer, int]:
        dialect = await self._dialect_for(request)
        path, fields = dialects.body(request, self.settings, dialect, self._template)
        body = msgspec.json.encode(fields)
        attempt = 1
        patience = self._clock() + _PATIENCE_429
        while True:
            url = await self._replica(request.affinity)
            self.stats.requests += 1
            try:
                answer = await self.post(url, path, body)
                heard = tuple(dialects.heard(choice, request, dialect) for choice in answer.choices)
                return msgspec.structs.replace(answer, choices=heard), attempt
            except _Busy as busy:
                self.stats.retries["http-429"] += 1
                if self._clock() > patience:
                    self.stats.failures["http-429"] += 1
                    raise Unavailable(
                        f"{self._what()} said for half an hour that it is too busy: {busy}", kind="http-429"
                    ) from None
                wait = self._backoff(1) if busy.after is None else busy.after
                self._paused[url] = max(self._paused.get(url, 0.0), self._clock() + wait)
            except (Unavailable, BadReply) as error:
                if attempt >= self.settings.attempts:
                    self.stats.failures[error.kind] += 1
                    raise
                self.stats.retries[error.kind] += 1
                if isinstance(error, Unavailable) and len(self._urls) > 1:
                    self._aside[url] = self._clock() + _ASIDE_SECONDS
                await self._sleep(self._backoff(attempt))
                attempt += 1
            except ModelError as error:
                self.stats.failures[error.kind] += 1
                raise

    def _backoff(self, attempt: int) -> float:
        return min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (attempt - 1)) * (0.5 + self._chance())

    async def _dialect_for(self, request: Request) -> str:
        if request.prefill is None and self.settings.prefill != "completions":
            return "none"
        if self._dialect is None:
            async with self._finding:  # the first request finds out, the others wait for it
                if self._dialect is None:
                    self._dialect = await probe.detect(self, self.name)
        return self._dialect

    async def _replica(self, affinity: str) -> str:
        """The replica that this image goes to, once it is not paused."""
        now = self._clock()
        here = [url for url in self._urls if self._aside.get(url, 0.0) <= now] or self._urls
        url = max(here, key=lambda url: blake2b(f"{affinity} {url}".encode(), digest_size=8).digest())
        while (wait := self._paused.get(url, 0.0) - self._clock()) > 0:
            await self._sleep(wait + 0.1 * self._chance())
        return url

    async def post(self, url: str, path: str, body: bytes) -> wire.Answer:
        """One attempt.

        Raises:
            ModelError: of the kind that says what went wrong.
        """
        what = self._what(url)
        try:
            async with self._open().post(url + path, data=body, allow_redirects=False) as response:
                if response.status == 429:
                    raise _Busy(
                        wire.words(await _read(response, what)), _after(response.headers.get("Retry-After"))
                    )
                data = await _read(response, what)
                status = response.status
        except asyncio.TimeoutError as error:
            raise Unavailable(
                f"{what} sent nothing for {self.settings.silence:.0f} s (models.{self.name}.silence)",
                kind="timeout",
            ) from error
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError) as error:
            raise Unavailable(f"{what} broke off its reply: {error}", kind="cut-off") from None
        except aiohttp.InvalidURL:
            raise UserError(f"models.{self.name}.url is not a URL: {url}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{what} cannot be reached: {error}", kind="connection") from None
        if status >= 500 or status in (408, 409):
            raise Unavailable(f"{what} failed (HTTP {status}): {wire.words(data)}", kind=f"http-{status}")
        return wire.read(status, data, what)

    def _what(self, url: str | None = None) -> str:
        return f"{self.name} ({self.settings.model} at {url or ', '.join(self._urls)})"

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # How many at once is the gate's to say.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=_CONNECT_SECONDS, sock_read=self.settings.silence
                ),
                headers=self._headers,
                trust_env=True,
                auto_decompress=True,
            )
        return self._session


async def _read(response: aiohttp.ClientResponse, what: str) -> bytes:
    data = bytearray()
    async for part in response.content.iter_any():
        data += part
        if len(data) > wire.MAX_BODY:
            raise BadReply(f"{what} sent more than {wire.MAX_BODY >> 20} MiB in one reply", kind="oversized")
    return bytes(data)


def _after(header: str | None) -> float | None:
    """Seconds to wait by a Retry-After header: a number, or a date."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _headers(settings: ModelSettings, name: str) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    for header, value in settings.headers.items():
        headers[header] = _secret(value[1:], f"models.{name}.headers") if value.startswith("$") else value
    if settings.key_env:
        headers["Authorization"] = f"Bearer {_secret(settings.key_env, f'models.{name}.key_env')}"
    return headers


def _secret(variable: str, where: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise UserError(f"{where} names the environment variable {variable}, which is not set: export {variable}=…")
    return value
