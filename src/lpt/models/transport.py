"""One attempt over HTTP: connections, headers, keys, and what comes back."""

import asyncio
import io
import itertools
import os
import secrets as random_ids
import socket
from collections import Counter
from typing import Any

import aiohttp
import msgspec

from lpt.errors import UserError
from lpt.models import wire
from lpt.models.patience import Clock, retry_after
from lpt.models.replicas import Replica, Replicas
from lpt.models.silence import Out, Silence
from lpt.models.trouble import Attempt, Trouble
from lpt.models.wire import Answer
from lpt.settings import ModelSettings

MAX_BODY = 64 * 2**20
"""Bytes of a reply that are read at most: more than any answer, less than what hurts."""
_MAX_ERROR = 2**16
_CONNECT_SECONDS = 30.0
_ALIVE_SECONDS = 30.0
"""How long a server has to say that it is there."""
_KEEP_ALIVE_SECONDS = 4.0
"""Less than the five after which uvicorn, and so vLLM, closes an idle connection under the next request."""
_BESIDE_SECONDS = 30.0
_LARGE = 2**20
_REQUEST_ID = "X-Request-Id"


class Stats(msgspec.Struct):
    """What happened on the way, for whoever watches."""

    requests: int = 0
    """HTTP requests sent, those that failed included."""
    in_flight: int = 0
    retries: Counter[str] = msgspec.field(default_factory=Counter)
    """Attempts that were followed by another, by the kind of what went wrong."""
    failures: Counter[str] = msgspec.field(default_factory=Counter)
    """Calls that got no answer, by the kind of the last thing that went wrong."""


class Transport:
    """Sends bodies to the servers of one model."""

    def __init__(self, settings: ModelSettings, name: str, replicas: Replicas, clock: Clock) -> None:
        """Make one; nothing is sent, and no key is looked for, before the first request."""
        self.stats = Stats()
        self._settings = settings
        self._name = name
        self._replicas = replicas
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._secrets: tuple[str, ...] = ()
        self._silence = Silence(settings.silence, self._alive)
        self._says_its_name = False
        self._id = random_ids.token_hex(6)
        self._count = itertools.count()

    async def close(self) -> None:
        """Close the connections."""
        self._silence.close()
        if self._session:
            await self._session.close()

    async def get(self, replica: Replica, path: str, seconds: float | None = None) -> bytes | Trouble:
        """A GET below a server's base URL, once."""
        timeout = aiohttp.ClientTimeout(total=seconds, sock_read=self._settings.silence)
        try:
            async with self.open().get(
                replica.url(path),
                headers=replica.headers,
                allow_redirects=False,
                proxy=replica.proxy,
                timeout=timeout,
            ) as response:
                body = await _read(response, MAX_BODY) or b""
                if response.status != 200:
                    return self.attempt(replica).refused(response.status, response.headers, body[:_MAX_ERROR], None)
                return body
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            return self.attempt(replica).failed(error)

    async def beside(self, replica: Replica, path: str, body: bytes) -> tuple[int, bytes]:
        """A POST of what a server offers next to the protocol, once: status and body, (0, nothing) without one."""
        base = replica.base.parent if replica.base.name == "v1" else replica.base
        try:
            async with self.open().post(
                base.joinpath(path.strip("/")).with_query(replica.base.query),
                data=body,
                headers=replica.headers,
                allow_redirects=False,
                proxy=replica.proxy,
                timeout=aiohttp.ClientTimeout(total=_BESIDE_SECONDS),
            ) as response:
                return response.status, await _read(response, MAX_BODY) or b""
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
            return 0, b""

    async def post(self, replica: Replica, path: str, body: bytes, n: int) -> Answer | Trouble:
        """One attempt. What goes wrong is returned: an exception would carry aiohttp's, and that our headers."""
        session = self.open()
        attempt = self.attempt(replica)
        # aiohttp wants large bodies as files, to send them in pieces.
        data = body if len(body) <= _LARGE else io.BytesIO(body)
        sent_id = f"{self._id}-{next(self._count)}"
        self.stats.requests += 1
        self.stats.in_flight += 1
        try:
            with self._silence.over(replica) as out:
                async with session.post(
                    replica.url(path),
                    data=data,
                    headers={**replica.headers, _REQUEST_ID: sent_id},
                    allow_redirects=False,
                    proxy=replica.proxy,
                ) as response:
                    out.hear()
                    good = response.status == 200
                    received = await _read(response, MAX_BODY if good else _MAX_ERROR, out)
                    if not good:
                        after = retry_after(response.headers.get("Retry-After"), self._clock)
                        return attempt.refused(response.status, response.headers, received or b"", after)
                    back_id = response.headers.get(_REQUEST_ID)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            return attempt.failed(error)
        finally:
            self.stats.in_flight -= 1
        if received is None:
            return attempt.oversized(MAX_BODY)
        return self._own(replica, wire.read(received, n, attempt), attempt, received, sent_id, back_id)

    def _own(
        self,
        replica: Replica,
        answer: Answer | Trouble,
        attempt: Attempt,
        received: bytes,
        sent_id: str,
        back_id: str | None,
    ) -> Answer | Trouble:
        """An answer that is ours, as far as can be told; somebody else's reply is a trouble."""
        if not isinstance(answer, Answer):
            return answer
        # Where a server is known to say again the id that we sent, another id is somebody else's reply.
        if back_id is not None:
            replica.echoes |= back_id == sent_id
            if replica.echoes and back_id != sent_id:
                return attempt.bad("mixed-up", "sent the reply to another request", received)
        if answer.model is not None:
            # And where it is known to say the name that it was asked for, so is another name.
            self._says_its_name |= answer.model == self._settings.model
            if self._says_its_name and answer.model != self._settings.model:
                return attempt.bad("stranger", f"sent the reply of another model, {answer.model!r}", received)
        return answer

    async def _alive(self, replica: Replica) -> bool:
        said = await self.get(replica, "/models", min(_ALIVE_SECONDS, self._settings.silence))
        return not (isinstance(said, Trouble) and said.down)  # that it has no such page is a sign of life, too

    def attempt(self, replica: Replica) -> Attempt:
        """Whom an attempt asks, for what is said about it."""
        return Attempt(
            what=f"models.{self._name} ({self._settings.model} at {replica.shown})",
            name=self._name,
            silence=self._settings.silence,
            key_env=self._settings.key_env,
            secrets=self._secrets,
        )

    def open(self) -> aiohttp.ClientSession:
        """The session, on the loop that first needs it.

        Raises:
            UserError: a key is not there.
        """
        if self._session is None:
            headers = self._headers()
            self._session = aiohttp.ClientSession(
                # How many at once is the gate's to say.
                connector=aiohttp.TCPConnector(
                    limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS, socket_factory=_socket
                ),
                # The limit on silence is ours: a reply that is being written is not a connection that is dead.
                timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS),
                headers=headers,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "lpt"}
        secrets = [secret for replica in self._replicas.all for secret in replica.secrets]
        for header, value in self._settings.headers.items():
            headers[header] = value
            if value.startswith("$"):
                headers[header] = _from_environment(value[1:], f"models.{self._name}.headers")
                secrets.append(headers[header])
        if self._settings.key_env:
            if any(replica.headers for replica in self._replicas.all):
                raise UserError(
                    f"models.{self._name} has a password in its url and a key_env: only one can be sent"
                )
            key = _from_environment(self._settings.key_env, f"models.{self._name}.key_env")
            headers["Authorization"] = f"Bearer {key}"
            secrets.append(key)
        self._secrets = tuple(secrets)
        return headers


def _socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket that notices that the machine at its other end is gone, and that no router on the way forgets."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 6)):
        if hasattr(socket, option):  # not everywhere
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


async def _read(response: aiohttp.ClientResponse, most: int, out: Out | None = None) -> bytes | None:
    """The body, as far as it is not too long; None where it is. What is left unread closes the connection."""
    if (response.content_length or 0) > most:
        return None
    parts = []
    size = 0
    async for part in response.content.iter_any():
        if out is not None:
            out.hear()
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
