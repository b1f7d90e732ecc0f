"""The servers of one model: which of them a request goes to, and which of them are to be left alone for now."""

import base64
import ipaddress
import urllib.request
from collections.abc import Collection, Sequence
from hashlib import blake2b

import yarl

from lpt.errors import UserError
from lpt.models.patience import Clock

_ASIDE_SECONDS = 30.0
"""How long a replica that cannot be reached is left alone, where there are others."""


class Replica:
    """One server."""

    def __init__(self, url: str, name: str) -> None:
        try:
            parsed = yarl.URL(url.rstrip("/"))
        except ValueError:
            parsed = yarl.URL()
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise UserError(
                f'models.{name}.url must begin with http:// or https://, and usually end in /v1: "{url}"'
            )
        self.base = parsed.with_user(None)
        self.shown = str(self.base.with_query(None))
        """The URL as errors show it: credentials that someone put into it stay out."""
        self.headers = _authorization(parsed)
        self.secrets = tuple(value for value in (parsed.password, *parsed.query.values()) if value)
        """What of the URL must not be shown."""
        self.host = parsed.host
        self.loopback = _is_loopback(parsed.host)
        self.proxy = None if self.loopback else _proxy(parsed)
        self.paused_until = 0.0
        self.aside_until = 0.0
        self._urls: dict[str, yarl.URL] = {}

    def url(self, path: str) -> yarl.URL:
        """The URL of a path below the base, with the base's query if it has one."""
        if path not in self._urls:  # parsing it takes as long as a tenth of a request
            self._urls[path] = self.base.joinpath(*path.strip("/").split("/")).with_query(self.base.query)
        return self._urls[path]


class Replicas:
    """All servers of one model. An image stays with one of them, whose prefix cache then holds what it shares."""

    def __init__(self, urls: Sequence[str], name: str, clock: Clock) -> None:
        self.all = tuple(Replica(url, name) for url in urls)
        if not self.all:
            raise UserError(f"models.{name} has no url")
        self._clock = clock

    def choose(self, affinity: str, tried: Collection[Replica] = ()) -> Replica:
        """The replica for an affinity: always the same while it is well, and then the next in a fixed order.

        By rendezvous hashing: one replica more or less moves only that replica's share.
        """
        if len(self.all) == 1:
            return self.all[0]
        now = self._clock.now()
        well = [replica for replica in self.all if replica.aside_until <= now]
        here = [replica for replica in well if replica not in tried] or well or self.all
        return max(here, key=lambda replica: blake2b(f"{affinity} {replica.base}".encode(), digest_size=8).digest())

    def has_another(self, tried: Collection[Replica]) -> bool:
        """Whether there is one that is well and has not been tried."""
        now = self._clock.now()
        return any(replica.aside_until <= now and replica not in tried for replica in self.all)

    def set_aside(self, replica: Replica) -> None:
        """Leave a replica alone for a while: it cannot be reached."""
        replica.aside_until = self._clock.now() + _ASIDE_SECONDS

    def pause(self, replica: Replica, seconds: float) -> None:
        """Send a replica nothing for so long: it said that it is too busy."""
        replica.paused_until = max(replica.paused_until, self._clock.now() + seconds)

    async def ready(self, replica: Replica) -> None:
        """Wait out its pause, if it has one; who waits for the same pause comes back a little spread."""
        while (left := replica.paused_until - self._clock.now()) > 0:
            await self._clock.sleep(left + self._clock.chance() * min(1.0, left / 4))


def _authorization(url: yarl.URL) -> dict[str, str]:
    """The header for a user and a password that stand in the URL."""
    if url.user is None:
        return {}
    pair = f"{url.user}:{url.password or ''}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _proxy(url: yarl.URL) -> str | None:
    """The proxy that the environment names for this URL. Asked once: aiohttp's own look-up costs on every request,
    and reads credentials from ~/.netrc that nobody meant for a model.
    """  # noqa: D205 (one thought)
    assert url.host
    if urllib.request.proxy_bypass(url.host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return proxy if proxy and proxy.startswith("http") else None
