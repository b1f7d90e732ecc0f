"""The servers of one model: which of them a request goes to, how much each of them takes, and which are down."""

import base64
import ipaddress
import math
import urllib.request
from collections import OrderedDict
from collections.abc import Collection, Sequence
from hashlib import blake2b

import yarl

from lpt.errors import UserError
from lpt.models.capacity import MOST, Capacity
from lpt.models.circuit import Circuit
from lpt.models.gate import Gate
from lpt.models.patience import Clock, Waiter

_HOMES = 8192
"""Images of which it is remembered where they are at home: many times those that travel at once."""
_SPARE = 1.5
"""A server may have this much more than its share of a fixed number of places."""


class Replica:
    """One server."""

    def __init__(
        self, url: str, name: str, door: int, clock: Clock, most: int | None = None, known: set[str] | None = None
    ) -> None:
        try:
            parsed = yarl.URL(url.rstrip("/"))
        except ValueError:
            parsed = yarl.URL()
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise UserError(
                f"models.{name}.url must begin with http:// or https://, and usually end in /v1: "
                f'"{_without_credentials(url)}"'
            )
        self.base = parsed.with_user(None)
        self.shown = str(self.base.with_query(None))
        """The URL as errors show it: credentials that someone put into it stay out."""
        self.headers = _authorization(parsed)
        packed = self.headers.get("Authorization", "").partition(" ")[2]
        self.secrets = tuple(value for value in (packed, parsed.password, *parsed.query.values()) if value)
        """What of the URL must not be shown."""
        self.host = parsed.host
        self.loopback = _is_loopback(parsed.host)
        self.proxy = None if self.loopback else _proxy(parsed)
        self.door = door
        """Its place among the replicas, and its door at the gate."""
        self.circuit = Circuit(clock, str(self.base.origin()), known)
        self.capacity = Capacity(MOST if most is None else most, fixed=most is not None)
        self.paused_until = 0.0
        self.heard_at = -math.inf
        """When it last gave a sign of life, on the event loop's clock."""
        self.echoes = False
        """Whether it says again the id that a request came with."""
        self._urls: dict[str, yarl.URL] = {}

    def url(self, path: str) -> yarl.URL:
        """The URL of a path below the base, with the base's query if it has one."""
        if path not in self._urls:  # parsing it takes as long as a tenth of a request
            self._urls[path] = self.base.joinpath(*path.strip("/").split("/")).with_query(self.base.query)
        return self._urls[path]


class Replicas:
    """All servers of one model. An image stays with one of them, whose prefix cache then holds what it shares."""

    def __init__(
        self,
        urls: Sequence[str],
        name: str,
        clock: Clock,
        most: int | None = None,
        known: set[str] | None = None,
    ) -> None:
        """Know them.

        Args:
            urls: where they are.
            name: what the recipe calls the model, for errors.
            clock: time and chance.
            most: requests at once, over all of them; None: as many as they turn out to take.
            known: origins of servers that have answered, shared by all models of a run.
        """
        self.all = tuple(Replica(url, name, door, clock, most, known) for door, url in enumerate(urls))
        if not self.all:
            raise UserError(f"models.{name} has no url")
        self._most = most
        self._clock = clock
        self._homes: OrderedDict[str, Replica] = OrderedDict()
        self.gate = Gate(most or MOST * len(self.all), len(self.all))
        self.make_room()

    def choose(self, affinity: str, tried: Collection[Replica] = ()) -> Replica:
        """The replica for an affinity: always the same while it is well, else another.

        By rendezvous hashing, weighted with what the replicas turned out to do in a second: one replica more or
        less, or a faster one, moves as few images as can be. Those that have a home already keep it.
        """
        if len(self.all) == 1:
            return self.all[0]
        if any(replica.circuit.open for replica in self.all):
            self.make_room()  # one of them may be due for a try
        home = self._homes.get(affinity)
        well = [replica for replica in self.all if not replica.circuit.open or replica.circuit.due]
        here = [replica for replica in well if replica not in tried] or well or list(self.all)
        if home in here:
            return home
        speeds = [replica.capacity.speed for replica in here]
        weights = speeds if all(speeds) else [1.0] * len(here)
        best, _ = min(zip(here, weights, strict=True), key=lambda one: _distance(affinity, one[0], one[1]))
        if home is None:
            self._homes[affinity] = best
            if len(self._homes) > _HOMES:
                self._homes.popitem(last=False)
        return best

    def has_another(self, tried: Collection[Replica]) -> bool:
        """Whether there is one that is well and has not been tried."""
        return any(not replica.circuit.open and replica not in tried for replica in self.all)

    def make_room(self) -> None:
        """Let each of them have as much as it takes; one that is down has nothing while others are well."""
        if len(self.all) == 1:
            self.gate.set_room(0, self.all[0].capacity.limit)
            return
        someone = any(not replica.circuit.open for replica in self.all)
        speeds = [replica.capacity.speed for replica in self.all]
        weights = speeds if all(speeds) else [1.0] * len(speeds)
        for replica, weight in zip(self.all, weights, strict=True):
            room = replica.capacity.limit
            if self._most is not None:
                room = min(room, math.ceil(_SPARE * self._most * weight / sum(weights)))
            if replica.circuit.open and someone:
                room = self.gate.inside(replica.door) + 1 if replica.circuit.due else 0
            self.gate.set_room(replica.door, room)

    def pause(self, replica: Replica, seconds: float) -> None:
        """Send a replica nothing for so long: it said that it is too busy."""
        replica.paused_until = max(replica.paused_until, self._clock.now() + seconds)

    async def ready(self, replica: Replica, waiter: Waiter) -> None:
        """Wait out its pause, if it has one; who waits for the same pause comes back a little spread.

        Raises:
            Interrupted: the run is to stop.
        """
        while (left := replica.paused_until - self._clock.now()) > 0:
            await waiter.sleep(left + self._clock.chance() * min(1.0, left / 4))


def _distance(affinity: str, replica: Replica, weight: float) -> float:
    drawn = blake2b(f"{affinity} {replica.base}".encode(), digest_size=8).digest()
    return -math.log((int.from_bytes(drawn, "little") + 1) / (2**64 + 1)) / weight


def _authorization(url: yarl.URL) -> dict[str, str]:
    """The header for a user and a password that stand in the URL."""
    if url.user is None:
        return {}
    pair = f"{url.user}:{url.password or ''}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _without_credentials(url: str) -> str:
    """What is no URL, but may hold a password as one does."""
    return f"…{url.rpartition('@')[2]}" if "@" in url else url.partition("?")[0]


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
