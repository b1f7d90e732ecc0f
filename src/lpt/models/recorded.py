"""A model that answers from the ledger, or asks and keeps the answer."""

import asyncio
from collections.abc import Iterator

import msgspec

from lpt.chat import Template
from lpt.errors import Down, Interrupted, ModelError, Unavailable
from lpt.models.base import Choice, Model, Reply, Request
from lpt.settings import ModelSettings
from lpt.store.ledger import Ledger, canonical, reply_key

_PATIENCE = 64
"""Calls that may fail in a row as unavailable before the run stops: a restart of a server loses fewer."""


class Traffic(msgspec.Struct):
    """What went through one recorded model since it was made: for progress, never for tables."""

    asked: int = 0
    """Samples that the server was asked for."""
    recalled: int = 0
    """Samples that the ledger knew."""
    failed: int = 0
    in_flight: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class Recorded:
    """`recorded(model, ledger)`: a `Model` in front of another one."""

    def __init__(
        self, inner: Model, settings: ModelSettings, ledger: Ledger, stop: asyncio.Event, *, once: bool = False
    ) -> None:
        """Make one.

        Args:
            inner: what is asked.
            settings: the recipe's.
            ledger: what was answered.
            stop: once it is set, no new call is made.
            once: what failed is not tried again by this one, which fails the same way when it is asked again.
        """
        self.traffic = Traffic()
        self._inner = inner
        self._settings = settings
        self._ledger = ledger
        self._stop = stop
        here = settings.template if settings.prefill == "completions" else None
        self._template = Template.load(here).key if here else ""
        self._failed_in_a_row = 0
        self._once = once
        self._failed: dict[str, ModelError] = {}
        self.over: frozenset[str] = frozenset()
        """Stages that are drained: their replies are heard again on the way to the next, and not counted again."""

    async def ask(self, request: Request) -> Reply:
        """Answer from the ledger as far as it goes, and ask for the rest.

        Raises:
            ModelError: the model gave no answer at all; `fatal` when it will not give any. Where some samples are
                known, the reply holds those, and says what was lost.
            Interrupted: the run is to stop, and this would have been a new call.
        """
        body = canonical(request, self._settings, self._template)
        keys = [reply_key(body, request.seed + i) for i in range(request.n)]
        known = self._ledger.get(keys)
        self.traffic.recalled += len(known) if request.stage not in self.over else 0
        if len(known) == request.n:
            return Reply(choices=tuple(known[key] for key in keys), attempts=0)
        failed = [self._failed[key] for key in keys if key in self._failed]
        if len(failed) == request.n:
            raise type(failed[0])(str(failed[0]), kind=failed[0].kind)
        lost = failed[0].kind if failed else ""
        for first, count in _gaps([key in known or key in self._failed for key in keys]):
            part = msgspec.structs.replace(request, seed=request.seed + first, n=count)
            sought = keys[first : first + count]
            try:
                reply = await self._ask(part, body, sought)
            except ModelError as error:
                if error.fatal:
                    raise
                self._remember(sought, error)
                if not known:
                    raise
                lost = error.kind  # what is known of the other samples is worth having
            else:
                known.update((choice.key, choice) for choice in reply.choices)
                if reply.lost:
                    self._remember([k for k in sought if k not in known], ModelError(reply.lost, kind=reply.lost))
                lost = lost or reply.lost
        there = tuple(i for i, key in enumerate(keys) if key in known)
        return Reply(choices=tuple(known[keys[i]] for i in there), indexes=there, lost=lost)

    def _remember(self, keys: list[str], error: ModelError) -> None:
        if self._once:
            self._failed.update(dict.fromkeys(keys, error))

    async def _ask(self, request: Request, body: bytes, keys: list[str]) -> Reply:
        if self._stop.is_set():
            raise Interrupted("stopped before a new call")
        self.traffic.in_flight += 1
        try:
            reply = await self._inner.ask(request)
        except ModelError as error:
            self.traffic.failed += request.n
            await self._ledger.put_failure(request, self._settings.model, body, error.kind, str(error))
            # A server that refuses is there.
            self._failed_in_a_row = self._failed_in_a_row + 1 if isinstance(error, Unavailable) else 0
            if self._failed_in_a_row >= _PATIENCE:
                raise Down(
                    f"{self._failed_in_a_row} calls in a row went unanswered. The last one: {error}\n"
                    "What was answered is kept: see to the server, then run the same command again.",
                    kind=error.kind,
                ) from error
            raise
        finally:
            self.traffic.in_flight -= 1
        self._failed_in_a_row = 0
        choices = tuple(_clean(choice, keys[i]) for i, choice in reply.samples())
        reply = msgspec.structs.replace(reply, choices=choices)
        whole = await self._ledger.put(request, self._settings.model, body, reply)
        if reply.lost and self._stop.is_set():
            raise Interrupted("stopped before a new call")  # for the samples that are missing
        self.traffic.asked += len(choices)
        self.traffic.failed += request.n - len(choices)
        self.traffic.prompt_tokens += reply.usage.prompt_tokens
        self.traffic.completion_tokens += reply.usage.completion_tokens
        self.traffic.cached_tokens += reply.usage.cached_tokens
        # What counts is what is kept: the same may have been asked at the same time, and answered first.
        if whole:
            return reply
        stands = self._ledger.get([choice.key for choice in choices])
        return msgspec.structs.replace(reply, choices=tuple(stands.get(c.key, c) for c in choices))


def _gaps(known: list[bool]) -> Iterator[tuple[int, int]]:
    """The runs of samples that are not known, as (first, count): each is one request of consecutive seeds."""
    first = None
    for i, is_known in enumerate([*known, True]):
        if not is_known and first is None:
            first = i
        elif is_known and first is not None:
            yield first, i - first
            first = None


def _clean(choice: Choice, key: str) -> Choice:
    """A choice under its key, as the ledger can hold it: lone surrogates are no text."""

    def storable(text: str) -> str:
        return text.encode("utf-8", "replace").decode()

    return msgspec.structs.replace(
        choice,
        key=key,
        text=storable(choice.text),
        reasoning=None if choice.reasoning is None else storable(choice.reasoning),
    )
