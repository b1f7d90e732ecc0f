"""A model behind HTTP: one of the OpenAI-compatible protocol, at one URL or several."""

import asyncio
import io
import os
from collections import Counter
from collections.abc import Callable, Sequence

import aiohttp
import msgspec

from lpt.chat import Template
from lpt.errors import ModelError, Refused, UserError
from lpt.models import dialects, probe, wire
from lpt.models.base import Choice, Reply, Request, Usage
from lpt.models.dialects import Dialect
from lpt.models.patience import Clock, backoff, retry_after
from lpt.models.replicas import Replica, Replicas
from lpt.models.trouble import Attempt, Trouble
from lpt.models.wire import Answer
from lpt.settings import ModelSettings

MAX_BODY = 64 * 2**20
"""Bytes of a reply that are read at most: more than any answer, less than what hurts."""
_MAX_ERROR = 2**16
_CONNECT_SECONDS = 30.0
_KEEP_ALIVE_SECONDS = 4.0
"""Less than the five after which uvicorn, and so vLLM, closes an idle connection under the next request."""
_PATIENCE_429 = 1800.0
"""Seconds that a request waits out 429s, which are no attempts of its own, before it counts as failed."""
_LEAST_429 = 0.25
"""Seconds: a server that says "at once" would be asked without end."""
_LARGE = 2**20


class Stats(msgspec.Struct):
    """What happened on the way, for whoever watches."""

    requests: int = 0
    """HTTP requests sent, those that failed included."""
    in_flight: int = 0
    retries: Counter[str] = msgspec.field(default_factory=Counter)
    """Attempts that were followed by another, by the kind of what went wrong."""
    failures: Counter[str] = msgspec.field(default_factory=Counter)
    """Calls that got no answer, by the kind of the last thing that went wrong."""


class Endpoint:
    """A `Model` over HTTP. Retries what may pass; says clearly what will not."""

    def __init__(
        self,
        settings: ModelSettings,
        urls: Sequence[str],
        *,
        name: str = "model",
        clock: Clock | None = None,
        gone: Callable[[], ModelError | None] = lambda: None,
    ) -> None:
        """Make one; nothing is sent, and no key is looked for, before the first request.

        Args:
            settings: the model.
            urls: where it is served, ending in /v1: several are replicas.
            name: what the recipe calls it, for errors.
            clock: time and chance.
            gone: says when a server cannot come back, so that retrying is of no use.
        """
        self.settings = settings
        self.name = name
        self.stats = Stats()
        self._clock = clock or Clock()
        self._replicas = Replicas(urls, name, self._clock)
        self._gone = gone
        self._session: aiohttp.ClientSession | None = None
        self._secrets: tuple[str, ...] = ()
        self._writer = wire.Writer()
        self._dialect: Dialect | None = None if settings.prefill == "auto" else settings.prefill
        self._finding = asyncio.Lock()
        self._template = Template.load(settings.template) if settings.template else None
        self._most: int | None = None  # choices at once; None: as many as are wanted
        self._says_its_name = False

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r}, {[replica.shown for replica in self._replicas.all]})"

    @property
    def host(self) -> str:
        """The host of the first replica."""
        return self._replicas.all[0].host

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()

    async def ask(self, request: Request) -> Reply:
        """Ask, and ask again where that may help; choices come in the order of their seeds.

        Raises:
            ModelError: there is no answer: `Unavailable`, `Refused`, `Denied` or `BadReply`.
            UserError: a key is missing, or the server cannot continue a turn and nothing says what to do then.
        """
        return await self._complete(request, await self._dialect_for(request))

    async def try_out(self, request: Request, dialect: Dialect) -> Reply:
        """Ask in a dialect, whatever is known of the server: how `probe` finds out."""
        return await self._complete(request, dialect)

    async def get(self, path: str) -> bytes | None:
        """A GET below the first URL, such as /models; None where that fails."""
        replica = self._replicas.all[0]
        try:
            async with self._open().get(replica.url(path), allow_redirects=False, proxy=replica.proxy) as response:
                return await _read(response, MAX_BODY) if response.status == 200 else None
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
            return None

    async def _dialect_for(self, request: Request) -> Dialect:
        if request.prefill is None:
            return "continue"  # all dialects are alike then
        if self._dialect is None:
            async with self._finding:  # the first request finds out, the others wait for it
                if self._dialect is None:
                    self._dialect = await probe.detect(self, self.name)
        return self._dialect

    async def _complete(self, request: Request, dialect: Dialect) -> Reply:
        """All choices of a request, however many of them the server gives at once."""
        started, began = self._clock.wall(), self._clock.now()
        got: dict[int, Choice] = {}
        usage = Usage()
        attempts = 0
        lost = ""
        while len(got) < request.n:  # every round brings at least one
            first, count = _missing(got, request.n)
            part = msgspec.structs.replace(request, seed=request.seed + first, n=min(count, self._most or count))
            try:
                answer, sent = await self._fewer_if_refused(part, dialect)
            except ModelError as error:
                if not got or error.fatal:
                    raise
                lost = error.kind  # what an earlier round brought is paid for, and kept
                break
            attempts += sent
            for place, choice in zip(answer.places, answer.choices, strict=True):
                got[first + place] = dialects.heard(choice, request, dialect)
            usage = Usage(
                usage.prompt_tokens + answer.usage.prompt_tokens,
                usage.completion_tokens + answer.usage.completion_tokens,
                usage.cached_tokens + answer.usage.cached_tokens,
            )
        there = tuple(sorted(got))
        return Reply(
            choices=tuple(got[i] for i in there),
            usage=usage,
            attempts=attempts,
            started=started,
            seconds=self._clock.now() - began,
            indexes=there if lost else (),
            lost=lost,
        )

    async def _fewer_if_refused(self, request: Request, dialect: Dialect) -> tuple[Answer, int]:
        """Ask; where several choices are refused and one is not, remember that they come one by one."""
        try:
            return await self._persist(request, dialect)
        except Refused as error:
            if request.n == 1 or error.fatal:
                raise
            refusal = error
        try:
            answer, sent = await self._persist(msgspec.structs.replace(request, n=1), dialect)
        except Refused:
            raise refusal from None  # it was not the number: say what the server said to what we wanted
        self._most = 1
        return answer, sent + 1

    async def _persist(self, request: Request, dialect: Dialect) -> tuple[Answer, int]:
        """Ask until there is an answer or no hope; also says how many HTTP requests that took."""
        self._open()
        path, fields = dialects.body(request, self.settings, dialect, self._template, self.name)
        try:
            body = self._writer.write(fields)
        except UnicodeEncodeError:
            raise Refused(f"models.{self.name}: the request holds half a surrogate pair", kind="not-text") from None
        affinity = request.affinity or request.record
        tried: set[Replica] = set()
        sent = failed = turned_away = 0
        busy_since: float | None = None
        while True:
            replica = self._replicas.choose(affinity, tried)
            await self._replicas.ready(replica)
            outcome = await self._post(replica, path, body, request.n)
            sent += 1
            if isinstance(outcome, Answer):
                return outcome, sent
            kind = outcome.error.kind
            if outcome.again == "wait":
                turned_away += 1
                wait = (
                    max(outcome.after, _LEAST_429)
                    if outcome.after is not None
                    else backoff(turned_away, self._clock)
                )
                now = self._clock.now()
                busy_since = now if busy_since is None else busy_since
                if now + wait - busy_since > _PATIENCE_429:
                    self._fail(outcome)
                self._replicas.pause(replica, wait)
                self.stats.retries[kind] += 1
                continue
            if outcome.unreachable:
                self._replicas.set_aside(replica)
                if (gone := self._gone()) is not None:
                    raise gone
            if outcome.elsewhere:
                tried.add(replica)
                if self._replicas.has_another(tried):  # at once, and at no cost: it is another's turn
                    self.stats.retries[kind] += 1
                    continue
                tried.clear()
            failed += 1
            if outcome.again == "no" or failed >= self.settings.attempts:
                self._fail(outcome)
            self.stats.retries[kind] += 1
            await self._clock.sleep(max(backoff(failed, self._clock), min(outcome.after or 0.0, _PATIENCE_429)))

    def _fail(self, trouble: Trouble) -> None:
        self.stats.failures[trouble.error.kind] += 1
        raise trouble.error

    async def _post(self, replica: Replica, path: str, body: bytes, n: int) -> Answer | Trouble:
        """One attempt. What goes wrong is returned: an exception would carry aiohttp's, and that our headers."""
        attempt = self._attempt(replica)
        # aiohttp wants large bodies as files, to send them in pieces.
        data = body if len(body) <= _LARGE else io.BytesIO(body)
        self.stats.requests += 1
        self.stats.in_flight += 1
        try:
            async with self._open().post(
                replica.url(path), data=data, headers=replica.headers, allow_redirects=False, proxy=replica.proxy
            ) as response:
                good = response.status == 200
                received = await _read(response, MAX_BODY if good else _MAX_ERROR)
                if not good:
                    after = retry_after(response.headers.get("Retry-After"), self._clock)
                    return attempt.refused(response.status, response.headers, received or b"", after)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            return attempt.failed(error)
        finally:
            self.stats.in_flight -= 1
        if received is None:
            return attempt.oversized(MAX_BODY)
        answer = wire.read(received, n, attempt)
        if isinstance(answer, Answer) and answer.model is not None:
            # Where a server is known to say the name that it was asked for, another name is a mixed-up reply.
            self._says_its_name |= answer.model == self.settings.model
            if self._says_its_name and answer.model != self.settings.model:
                return attempt.bad("stranger", f"sent the reply of another model, {answer.model!r}", received)
        return answer

    def _attempt(self, replica: Replica) -> Attempt:
        return Attempt(
            what=f"models.{self.name} ({self.settings.model} at {replica.shown})",
            name=self.name,
            silence=self.settings.silence,
            key_env=self.settings.key_env,
            secrets=self._secrets,
        )

    def _open(self) -> aiohttp.ClientSession:
        """The session, on the loop that first needs it.

        Raises:
            UserError: a key is not there.
        """
        if self._session is None:
            headers = self._headers()
            self._session = aiohttp.ClientSession(
                # How many at once is the gate's to say.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=_CONNECT_SECONDS, sock_read=self.settings.silence
                ),
                headers=headers,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "lpt"}
        secrets = [secret for replica in self._replicas.all for secret in replica.secrets]
        for header, value in self.settings.headers.items():
            headers[header] = value
            if value.startswith("$"):
                headers[header] = _from_environment(value[1:], f"models.{self.name}.headers")
                secrets.append(headers[header])
        if self.settings.key_env:
            if any(replica.headers for replica in self._replicas.all):
                raise UserError(f"models.{self.name} has a password in its url and a key_env: only one can be sent")
            key = _from_environment(self.settings.key_env, f"models.{self.name}.key_env")
            headers["Authorization"] = f"Bearer {key}"
            secrets.append(key)
        self._secrets = tuple(secrets)
        return headers


def _missing(got: dict[int, Choice], n: int) -> tuple[int, int]:
    """The first run of samples that have not come, as (first, count)."""
    first = next(i for i in range(n) if i not in got)
    count = next((i for i in range(first, n) if i in got), n) - first
    return first, count


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes | None:
    """The body, as far as it is not too long; None where it is. What is left unread closes the connection."""
    if (response.content_length or 0) > most:
        return None
    parts = []
    size = 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > most:  # once unpacked, too: a length that was announced is that of the packed body
            return None
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _from_environment(variable: str, where: str) -> str:
    """A secret from the environment. Errors name the variable, never its value."""
    value = os.environ.get(variable, "").strip()
    if not value:
        raise UserError(f"{where} names the environment variable {variable}, which is not set: export {variable}=…")
    if not value.isascii() or not value.isprintable():
        raise UserError(f"the environment variable {variable} ({where}) holds characters that no header can carry")
    return value
