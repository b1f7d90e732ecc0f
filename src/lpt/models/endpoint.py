"""A model behind HTTP: one of the OpenAI-compatible protocol, at one URL or several."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from lpt.chat import Template
from lpt.errors import Interrupted, ModelError, Refused
from lpt.models import dialects, probe, wire
from lpt.models.base import Choice, Reply, Request, Usage
from lpt.models.caller import Call, Caller
from lpt.models.dialects import Dialect, Way
from lpt.models.manners import Manners
from lpt.models.patience import Clock, Waiter
from lpt.models.replicas import Replicas
from lpt.models.transport import Stats, Transport
from lpt.models.wire import Answer, Fields
from lpt.settings import ModelSettings


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
        stop: asyncio.Event | None = None,
        say: Callable[[str], None] = lambda _: None,
        known: set[str] | None = None,
    ) -> None:
        """Make one; nothing is sent, and no key is looked for, before the first request.

        Args:
            settings: the model.
            urls: where it is served, ending in /v1: several are replicas.
            name: what the recipe calls it, for errors.
            clock: time and chance.
            gone: says when a server cannot come back, so that retrying is of no use.
            stop: once it is set, no request is sent any more, and nothing is waited for but those that are out.
            say: is told when a server is down and when it is back.
            known: origins of servers that have answered, shared by all models of a run.
        """
        self.settings = settings
        self.name = name
        waiter = Waiter(clock or Clock(), stop)
        self._clock = waiter.clock
        most = None if settings.concurrency == "auto" else settings.concurrency
        self._replicas = Replicas(urls, name, self._clock, most, known)
        self._transport = Transport(settings, name, self._replicas, self._clock)
        self._caller = Caller(settings, name, self._replicas, self._transport, waiter, gone, say)
        self._writer = wire.Writer()
        self._dialect: Dialect | None = None if settings.prefill == "auto" else settings.prefill
        self._finding = asyncio.Lock()
        self._template = Template.load(settings.template) if settings.template else None
        self.manners = Manners(self, name, self._template)
        """What it makes of turns that it is to continue."""
        self._most: int | None = None  # choices at once; None: as many as are wanted

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r}, {[replica.shown for replica in self._replicas.all]})"

    @property
    def stats(self) -> Stats:
        """What happened on the way."""
        return self._transport.stats

    @property
    def replicas(self) -> Replicas:
        """Its servers, with the gate before them."""
        return self._replicas

    @property
    def host(self) -> str:
        """The host of the first replica."""
        return self._replicas.all[0].host

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def ask(self, request: Request) -> Reply:
        """Wait for a place, oldest image first, and ask; ask again where that may help.

        Choices come in the order of their seeds.

        Raises:
            ModelError: there is no answer: `Unavailable`, `Refused`, `Denied` or `BadReply`.
            UserError: a key is missing, or the server cannot continue a turn and nothing says what to do then.
            Interrupted: the run is to stop, and this would be a new call.
        """
        return await self._complete(request, await self._dialect_for(request))

    async def try_out(self, request: Request, dialect: Dialect) -> Reply:
        """Ask in a dialect, whatever is known of the server: how `probe` finds out."""
        return await self._complete(request, dialect)

    async def post(self, request: Request, path: str, fields: Fields) -> Answer:
        """One call as it is, with all the patience there is: how `manners` finds out."""
        answer, _ = await self._post(request, path, fields, continues=False)
        return answer

    async def beside(self, path: str, fields: Fields) -> tuple[int, bytes]:
        """A POST next to the first URL's /v1: status and body, (0, nothing) where there is no answer."""
        return await self._transport.beside(self._replicas.all[0], path, self._writer.write(fields))

    async def get(self, path: str) -> bytes | None:
        """A GET below the base URL, such as /models; None where there is nothing to be had."""
        return await self._caller.get(path)

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
        way = await self.manners.way(request, dialect)
        request = dialects.sent(request, way)
        got: dict[int, Choice] = {}
        usage = Usage()
        attempts = 0
        lost = ""
        while len(got) < request.n:  # every round brings at least one
            first, count = _missing(got, request.n)
            part = msgspec.structs.replace(request, seed=request.seed + first, n=min(count, self._most or count))
            try:
                answer, sent = await self._fewer_if_refused(part, way)
            except (ModelError, Interrupted) as error:
                if not got or (isinstance(error, ModelError) and error.fatal):
                    raise
                # What an earlier round brought is paid for, and kept.
                lost = error.kind if isinstance(error, ModelError) else "stopped"
                break
            attempts += sent
            for place, choice in zip(answer.places, answer.choices, strict=True):
                got[first + place] = await self.manners.heard(choice, request, way)
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

    async def _fewer_if_refused(self, request: Request, way: Way) -> tuple[Answer, int]:
        """Ask; where several choices are refused and one is not, remember that they come one by one."""
        try:
            return await self._persist(request, way)
        except Refused as error:
            if request.n == 1 or error.fatal:
                raise
            refusal = error
        try:
            answer, sent = await self._persist(msgspec.structs.replace(request, n=1), way)
        except Refused:
            raise refusal from None  # it was not the number: say what the server said to what we wanted
        self._most = 1
        return answer, sent + 1

    async def _persist(self, request: Request, way: Way) -> tuple[Answer, int]:
        """Ask until there is an answer or no hope; also says how many HTTP requests that took."""
        self._transport.open()
        path, fields = dialects.body(request, self.settings, way, self._template, self.name)
        return await self._post(request, path, fields, continues=way.dialect != "instructed")

    async def _post(self, request: Request, path: str, fields: Fields, *, continues: bool) -> tuple[Answer, int]:
        try:
            body = self._writer.write(fields)
        except UnicodeEncodeError:
            raise Refused(f"models.{self.name}: the request holds half a surrogate pair", kind="not-text") from None
        call = Call(request, path, body, continues)
        return await self._caller.persist(call), call.sent


def _missing(got: dict[int, Choice], n: int) -> tuple[int, int]:
    """The first run of samples that have not come, as (first, count)."""
    first = next(i for i in range(n) if i not in got)
    count = next((i for i in range(first, n) if i in got), n) - first
    return first, count
