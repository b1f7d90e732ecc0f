"""A run's means: tokens, money, time. When they are spent, no new call is made, and what is there is composed.

An image sets out when what others took says that it can go all the way: half-way, it is worth little. Every call
takes what it will probably need out of the purse before it is made, by what such calls took so far, and settles
when its reply is there. A call that does not fit waits until others have settled: so a limit is neither overrun by
the calls that are out, nor left half used.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from lpt.errors import Unaffordable
from lpt.models.base import Model, Reply, Request
from lpt.models.patience import Clock
from lpt.records import Caption
from lpt.settings import Price

Made = TypeVar("Made")

_PILOT = 4
"""Images that set out before anything is known of what one takes."""


class Means(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may spend; None: as much as it takes. What the ledger knows costs nothing."""

    tokens: int | None = None
    """Tokens, prompts and replies together."""
    cost: float | None = None
    """Money, at the recipe's prices."""
    seconds: float | None = None


class _Mean:
    """What a kind of call took on average."""

    def __init__(self) -> None:
        self.out = 0
        self.samples = 0
        self.tokens = 0.0
        self.cost = 0.0

    def of(self, n: int) -> tuple[float, float]:
        """What n samples will probably take."""
        known = max(1, self.samples)
        return self.tokens * n / known, self.cost * n / known


class Purse:
    """Keeps a run's means, for all of its models together."""

    def __init__(self, means: Means, clock: Clock | None = None) -> None:
        self.means = means
        self.tokens = 0.0
        self.cost = 0.0
        self.empty = ""
        """Which of the means could not pay for a call any more; empty while all could."""
        self._clock = clock or Clock()
        self._began = self._clock.now()
        self._usual: defaultdict[tuple[str, str], _Mean] = defaultdict(_Mean)
        self._out = 0
        self._held = (0.0, 0.0)
        self._settled = asyncio.Event()
        self._images: dict[str, tuple[float, float]] = {}  # under way: what each took so far
        self._arrived = 0
        self._spent = (0.0, 0.0)  # by those that have arrived

    def pays(self, model: Model, name: str, price: Price) -> Model:
        """The model, whose calls are paid for out of this purse; itself, where nothing is limited."""
        return Paid(model, name, price, self) if self.limited else model

    def room(self, most: int) -> int:
        """How many images may be under way now: those that are, and as many as can still be paid for to the end."""
        if not self.limited:
            return most
        if self._over():
            return 0
        if not self._arrived:
            return min(most, _PILOT)
        spent, means = self._spent, self.means
        shares = [
            (name, (limit - of_all) / (of_all / self._arrived))
            for name, limit, of_all in (("tokens", means.tokens, spent[0]), ("cost", means.cost, spent[1]))
            if limit is not None and of_all
        ]
        name, least = min(shares, key=lambda share: share[1], default=("", float(most)))
        if least < 1 and not self._images:
            self.empty = name
        return max(0, min(most, int(least)))

    @property
    def spent(self) -> bool:
        """Whether nothing new begins."""
        return self._over()

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self.means != Means()

    def counts(
        self, travel: Callable[[Caption, int], Awaitable[Made]]
    ) -> Callable[[Caption, int], Awaitable[Made]]:
        """The way of an image, counted when it has come to its end: what it took tells what others will."""

        async def counted(caption: Caption, rank: int) -> Made:
            made = await travel(caption, rank)
            tokens, cost = self._images.pop(caption.image, (0.0, 0.0))
            if tokens:  # one that the ledger knew tells nothing
                self._arrived += 1
                self._spent = (self._spent[0] + tokens, self._spent[1] + cost)
            return made

        return counted

    async def take(self, name: str, request: Request) -> tuple[float, float]:
        """Hold back what a call will probably take, and wait while there is not enough beside other calls.

        Raises:
            Unaffordable: there is not enough, and no call is out that might turn out cheaper.
        """
        while True:
            if self._over():
                raise self._refusal()
            # Asked anew after every wait: by then more is known. The first of a kind goes alone, to be learnt from.
            usual = self._usual[name, request.stage]
            tokens, cost = usual.of(request.n)
            known = usual.samples or not usual.out
            if known and not (short := self._short(tokens, cost)):
                break
            if not self._out:
                self.empty = self.empty or short
                raise self._refusal()
            self._settled.clear()
            await self._settled.wait()
        self._out += 1
        usual.out += 1
        self._held = (self._held[0] + tokens, self._held[1] + cost)
        return tokens, cost

    def settle(
        self, name: str, request: Request, held: tuple[float, float], reply: Reply | None, at: Price
    ) -> None:
        """Put back what was held and take what it cost; None: no reply came."""
        usual = self._usual[name, request.stage]
        self._out -= 1
        usual.out -= 1
        # Nothing out, nothing held: what floating point leaves over must not count.
        self._held = (self._held[0] - held[0], self._held[1] - held[1]) if self._out else (0.0, 0.0)
        if reply:
            tokens = reply.usage.prompt_tokens + reply.usage.completion_tokens
            cost = at.of(reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.cached_tokens)
            usual.samples += len(reply.choices)
            usual.tokens += tokens
            usual.cost += cost
            self.tokens += tokens
            self.cost += cost
            so_far = self._images.get(request.affinity, (0.0, 0.0))
            self._images[request.affinity] = (so_far[0] + tokens, so_far[1] + cost)
        self._settled.set()

    def _short(self, tokens: float, cost: float) -> str:
        """Which of the means so much more would overrun."""
        means = self.means
        if means.tokens is not None and self.tokens + self._held[0] + tokens > means.tokens:
            return "tokens"
        if means.cost is not None and self.cost + self._held[1] + cost > means.cost:
            return "cost"
        return ""

    def _over(self) -> bool:
        """Whether nothing new begins: the time is over, or something could not be paid for."""
        seconds = self.means.seconds
        if seconds is not None and self._clock.now() - self._began >= seconds:
            self.empty = self.empty or "time"
        return bool(self.empty)

    def _refusal(self) -> Unaffordable:
        return Unaffordable(f"the {self.empty} that this run may take is spent", kind="limit")


class Paid:
    """A `Model` whose calls are paid for out of a purse."""

    def __init__(self, inner: Model, name: str, price: Price, purse: Purse) -> None:
        self._inner = inner
        self._name = name
        self._price = price
        self._purse = purse

    async def ask(self, request: Request) -> Reply:
        """Ask, if it can be paid for.

        Raises:
            Unaffordable: it cannot: nothing was sent.
        """
        held = await self._purse.take(self._name, request)
        reply = None
        try:
            reply = await self._inner.ask(request)
            return reply
        finally:
            self._purse.settle(self._name, request, held, reply, self._price)
