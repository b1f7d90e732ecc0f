"""One call: asked, and asked again for as long as that may help, at the server where it may help."""

import math
from collections.abc import Callable

import msgspec

from lpt.errors import ModelError
from lpt.models.anew import begun_anew
from lpt.models.base import Request
from lpt.models.outage import Outages
from lpt.models.pace import Pace
from lpt.models.patience import Clock, Waiter, backoff
from lpt.models.replicas import Replica, Replicas
from lpt.models.transport import Transport
from lpt.models.trouble import Trouble
from lpt.models.wire import Answer
from lpt.settings import ModelSettings

_PATIENCE_429 = 1800.0
"""Seconds that a request waits out 429s, which are no attempts of its own, before it counts as failed."""
_LEAST_429 = 0.25
"""Seconds: a server that says "at once" would be asked without end."""
_ANEW = 8
"""Replies that begin anew, and none that goes on, which show that a server never continues a turn."""
_GUESS_TOKENS = 500
"""Tokens that the first reply of a stage is reckoned to take, where a limit a minute wants a guess."""
_GUESS_IMAGE = 1000
"""And a prompt with an image."""


class Call(msgspec.Struct):
    """What is asked, as it goes out, and how it has fared."""

    request: Request
    path: str
    body: bytes
    continues: bool
    """Whether the server itself is to continue a turn."""
    sent: int = 0
    """HTTP requests."""
    failed: int = 0
    """Attempts that were its own."""
    turned_away: int = 0
    busy_since: float | None = None
    tried: set[Replica] = msgspec.field(default_factory=set)
    """Where it failed, while there are others."""

    @property
    def who(self) -> str:
        """Names it among others."""
        return f"{self.request.record} {self.request.seed}"


class Caller:
    """Calls the servers of one model."""

    def __init__(
        self,
        settings: ModelSettings,
        name: str,
        replicas: Replicas,
        transport: Transport,
        waiter: Waiter,
        gone: Callable[[], ModelError | None],
        say: Callable[[str], None],
    ) -> None:
        self._attempts = settings.attempts
        self._name = name
        self._replicas = replicas
        self._transport = transport
        self._waiter = waiter
        self._clock: Clock = waiter.clock
        self._gone = gone
        self._outages = Outages(replicas, waiter, name, settings.patience, say)
        self._anew: float = 0  # replies that began anew; so few that it does not matter once one has not
        self._pace = Pace(settings.requests_per_minute, settings.tokens_per_minute, waiter)

    async def persist(self, call: Call) -> Answer:
        """Ask until there is an answer or no hope. A place at the gate is held while an attempt is out.

        Raises:
            ModelError: there is none.
            Interrupted: the run is to stop, and another attempt would be a new call.
        """
        request = call.request
        affinity = request.affinity or request.record
        while True:
            self._waiter.go_on()
            home = self._replicas.choose(affinity, call.tried)
            door = await self._replicas.gate.enter(request.rank, home.door, pinned=bool(call.tried))
            replica = self._replicas.all[door]
            probing = False
            try:
                if not await self._outages.up(replica):
                    continue
                probing = replica.circuit.open
                outcome = await self._attempt(replica, call)
            finally:
                if probing:
                    replica.circuit.came_back()
                self._replicas.gate.leave(door)
            if isinstance(outcome, Answer):
                self._outages.answered(replica)
                return outcome
            wait = self._after(replica, outcome, call)
            self._transport.stats.retries[outcome.error.kind] += 1
            if wait:
                await self._waiter.sleep(wait)

    async def get(self, path: str) -> bytes | None:
        """A GET below the base URL; None where there is nothing to be had. A server that is down is waited for.

        Raises:
            Down: for too long.
            Interrupted: the run is to stop.
        """
        failed = 0
        while failed < self._attempts:
            self._waiter.go_on()
            replica = self._replicas.choose(path)
            if not await self._outages.up(replica):
                continue
            probing = replica.circuit.open
            try:
                said = await self._transport.get(replica, path)
            finally:
                if probing:
                    replica.circuit.came_back()
            if not isinstance(said, Trouble):
                self._outages.answered(replica)
                return said
            if self._outages.failed(replica, said, path):
                continue
            if not said.down or not replica.circuit.reached:
                break
            failed += 1
            await self._waiter.sleep(backoff(failed, self._clock))
        return None

    def _after(self, replica: Replica, trouble: Trouble, call: Call) -> float:
        """Seconds until it is worth asking again.

        Raises:
            ModelError: it is not.
        """
        of_the_server = self._outages.failed(replica, trouble, call.who)
        if trouble.again == "wait":
            self._pause(replica, trouble, call)
            return 0.0
        if trouble.unreachable and (gone := self._gone()) is not None:
            raise gone
        if trouble.elsewhere:
            call.tried.add(replica)
            if self._replicas.has_another(call.tried):  # at once, and at no cost: it is another's turn
                return 0.0
            call.tried.clear()
        if of_the_server:  # waited out with the patience that is had with the server
            return 0.0
        call.failed += 1
        if trouble.again == "no" or call.failed >= self._attempts:
            raise self._failure(trouble)
        return max(backoff(call.failed, self._clock), min(trouble.after or 0.0, _PATIENCE_429))

    def _pause(self, replica: Replica, trouble: Trouble, call: Call) -> None:
        """It is too busy: nobody asks it for a while.

        Raises:
            ModelError: it has been for very long.
        """
        call.turned_away += 1
        after = trouble.after
        wait = backoff(call.turned_away, self._clock) if after is None else max(after, _LEAST_429)
        now = self._clock.now()
        call.busy_since = now if call.busy_since is None else call.busy_since
        if now + wait - call.busy_since > _PATIENCE_429:
            raise self._failure(trouble)
        self._replicas.pause(replica, wait)

    def _failure(self, trouble: Trouble) -> ModelError:
        self._transport.stats.failures[trouble.error.kind] += 1
        return trouble.error

    async def _attempt(self, replica: Replica, call: Call) -> Answer | Trouble:
        """One attempt, at the pace that is allowed; what the server takes is learnt from it."""
        request, pace, capacity = call.request, self._pace, replica.capacity
        await self._replicas.ready(replica, self._waiter)
        expected = await pace.take(request.stage, request.n, _guess(call)) if pace.limited else 0.0
        self._waiter.go_on()
        call.sent += 1
        out = capacity.sent(self._clock.now())
        outcome: Answer | Trouble | None = None
        try:
            outcome = await self._transport.post(replica, call.path, call.body, request.n)
        finally:
            if isinstance(outcome, Answer):
                capacity.came(out, self._clock.now(), outcome.usage.completion_tokens)
            elif outcome is not None and outcome.too_much:
                capacity.turned_away(out, self._clock.now())
            else:
                capacity.failed(out)
            self._replicas.make_room()
        if not isinstance(outcome, Answer):
            return outcome
        if pace.limited:
            usage = outcome.usage
            pace.took(request.stage, request.n, expected, usage.prompt_tokens + usage.completion_tokens)
        return self._heard(outcome, call, replica)

    def _heard(self, answer: Answer, call: Call, replica: Replica) -> Answer | Trouble:
        """An answer without the choices that begin anew where a turn was to be continued: they have not come."""
        prefill = call.request.prefill
        if not prefill or not call.continues:
            return answer
        good = [i for i, choice in enumerate(answer.choices) if not begun_anew(choice, prefill)]
        if good:
            self._anew = -math.inf
        if len(good) == len(answer.choices):
            return answer
        if not good:
            self._anew += 1
            said = answer.choices[0].joined().encode("utf-8", "replace")
            return self._transport.attempt(replica).began_anew(said, always=self._anew >= _ANEW)
        return msgspec.structs.replace(
            answer,
            choices=tuple(answer.choices[i] for i in good),
            places=tuple(answer.places[i] for i in good),
        )


def _guess(call: Call) -> float:
    """Tokens that a call may take, before any like it has come back."""
    if any(said.images for said in call.request.messages):
        return _GUESS_IMAGE + _GUESS_TOKENS * call.request.n
    return len(call.body) / 4 + _GUESS_TOKENS * call.request.n
