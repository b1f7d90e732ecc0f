"""What went wrong with one attempt, which error it would be, and whether asking again may help."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Literal

import aiohttp
import msgspec

from lpt.errors import BadReply, Denied, ModelError, Refused, Unavailable
from lpt.models.hidden import hidden

_WORDS = 300
_ALSO_PASSING = (408, 409, 425)
"""4xx that pass by themselves: a timeout on the server's side, a conflict, too early."""
_PASSING_KINDS = frozenset(f"http-{status}" for status in _ALSO_PASSING)
_ABSENT = frozenset(
    ["connection", "cut-off", "timeout", *(f"http-{status}" for status in (502, 503, 504, *range(520, 525), 529))]
)
"""Also said by a proxy, of the server behind it."""
_TOO_MUCH = frozenset(["timeout", "http-503", "http-529"])


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """A failed attempt. A value, never an exception with a cause: what aiohttp raises holds our headers."""

    error: ModelError
    again: Literal["no", "retry", "wait"]
    """wait: it is too busy now, which is not a failure."""
    after: float | None = None
    """Seconds that the server asked us to wait."""
    elsewhere: bool = False
    """True where another replica may do better."""
    unreachable: bool = False
    """True where nobody listens."""

    @property
    def down(self) -> bool:
        """Whether it is a sign that the server is down."""
        passing = self.error.kind in _PASSING_KINDS
        return self.again == "retry" and isinstance(self.error, Unavailable) and not passing

    @property
    def absent(self) -> bool:
        """Whether no server took the request: then it is not the request's own fault."""
        return self.error.kind in _ABSENT

    @property
    def too_much(self) -> bool:
        """Whether fewer requests at once would have helped."""
        return self.again == "wait" or self.error.kind in _TOO_MUCH


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """Whom we asked, for what is said about it."""

    what: str
    """The model and the URL, as a person knows them."""
    name: str
    """The model's name in the recipe."""
    silence: float
    key_env: str | None
    secrets: Sequence[str] = ()

    def words(self, body: bytes | str) -> str:
        """The server's own words: one line, printable, short, and without our key, which some repeat."""
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
        text = hidden(text, self.secrets)
        if text.lstrip()[:1] == "<":
            text = re.sub(r"(?s)<(style|script).*?</\1>|<[^>]*>", " ", text)
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return text[:_WORDS] + ("…" if len(text) > _WORDS else "") or "(nothing)"

    def failed(self, error: BaseException) -> Trouble:
        """What an exception on the way means."""
        if isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError)):
            message = (
                f"{self.what} cannot be trusted: {_open(self.words(str(error)))}. A certificate of your own goes "
                "into the environment variable SSL_CERT_FILE"
            )
            return Trouble(error=Denied(message, kind="tls"), again="no")
        if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
            message = f"{self.what} cannot be reached: {self.words(str(error) or 'no answer')}"
            gone = Unavailable(message, kind="connection")
            return Trouble(error=gone, again="retry", elsewhere=True, unreachable=True)
        if isinstance(error, asyncio.TimeoutError):
            message = f"{self.what} sent nothing for {self.silence:g} s (models.{self.name}.silence)"
            return Trouble(error=Unavailable(message, kind="timeout"), again="retry", elsewhere=True)
        if isinstance(error, aiohttp.ClientResponseError):  # its text may hold what we sent
            message = f"{self.what} sent something that is not HTTP"
            return Trouble(error=BadReply(message, kind="not-http"), again="retry")
        message = f"{self.what} broke off: {self.words(str(error) or type(error).__name__)}"
        return Trouble(error=Unavailable(message, kind="cut-off"), again="retry", elsewhere=True)

    def oversized(self, most: int) -> Trouble:
        """A reply without an end."""
        message = f"{self.what} sent more than {most >> 20} MiB in one reply"
        return Trouble(error=BadReply(message, kind="oversized"), again="retry")

    def refused(self, status: int, headers: Mapping[str, str], body: bytes, after: float | None) -> Trouble:
        """What a status other than 200 means."""
        said = f"(HTTP {status}): {self.words(_message(body))}"
        kind = f"http-{status}"
        if 300 <= status < 400:
            # Not followed: the key would go along. It may be a proxy's hiccup; if it stays, it is the URL.
            where = self.words(headers.get("Location", "nowhere").partition("?")[0])
            message = (
                f"{self.what} sends us to {where} (HTTP {status}); that is never followed: "
                f"set models.{self.name}.url to where the server is"
            )
            return Trouble(error=Denied(message, kind="redirect"), again="retry")
        if status == 429:
            if b"insufficient_quota" in body:
                return Trouble(error=Denied(f"{self.what} has no quota left {said}", kind=kind), again="no")
            busy = Unavailable(f"{self.what} is too busy {said}", kind=kind)
            return Trouble(error=busy, again="wait", after=after)
        if status >= 500 or status in _ALSO_PASSING:
            failed = Unavailable(f"{self.what} failed {said}", kind=kind)
            return Trouble(error=failed, again="retry", after=after, elsewhere=True)
        if status in (401, 402, 403, 404):
            what = "knows no such model, or no such path" if status == 404 else "does not let us in"
            denied = Denied(f"{self.what} {what} {_open(said)}. {self._advice(status)}", kind=kind)
            return Trouble(error=denied, again="no")
        if 400 <= status < 500:
            return Trouble(error=Refused(f"{self.what} refused the request {said}", kind=kind), again="no")
        return Trouble(error=BadReply(f"{self.what} answered strangely {said}", kind=kind), again="retry")

    def began_anew(self, body: bytes, *, always: bool) -> Trouble:
        """A reply that begins anew where a turn was to be continued; `always`: as all of them have so far."""
        message = f"{self.what} began anew where a turn was to be continued: {self.words(body[:8192])}"
        if always:
            message = (
                f"{_open(message)}. It has continued none so far: `lpt doctor` finds out which "
                f"models.{self.name}.prefill it knows, if any"
            )
            return Trouble(error=Denied(message, kind="prefill-ignored"), again="no")
        return Trouble(error=BadReply(message, kind="prefill-ignored"), again="retry", elsewhere=True)

    def bad(self, kind: str, why: str, body: bytes) -> Trouble:
        """A 200 whose body is not a reply."""
        return Trouble(
            error=BadReply(f"{self.what} {self.words(why)}: {self.words(body[:8192])}", kind=kind), again="retry"
        )

    def _advice(self, status: int) -> str:
        if status == 404:
            return f"Check models.{self.name}.model against the names that it serves, and that its url ends in /v1"
        if self.key_env:
            return f"Check the key in the environment variable {self.key_env}"
        return f"If it wants a key, name the environment variable that holds it: models.{self.name}.key_env"


def _open(said: str) -> str:
    """A sentence of somebody else's without its full stop, so that ours may follow."""
    return said.rstrip(". ")


def _message(body: bytes) -> str:
    """The message in an error's body, wherever the server puts it; else the whole body."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = None
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(key):
            found = found[key]
    return found if isinstance(found, str) else body.decode("utf-8", "replace")
