"""One image's way through the three stages, and the way of many at once.

An image fans out as it goes: questions, thoughts on each, long thoughts after each cue. There are no barriers
between stages; many images travel at once, each model's own capacity is the gate, and at the gate the oldest
image goes first. Images set out in the order of their hashes and arrive about so; a small buffer puts them into
exact order, so that tables are written as they will stand and memory stays bounded, whatever the size of the run.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Literal, TypeAlias, TypeVar

import msgspec

from lpt.errors import Interrupted, LptError, ModelError, StoreError
from lpt.models.base import Image, Model
from lpt.records import Caption, Drop, LongThought, Question, Stage, Thought, lost_as
from lpt.settings import AskSettings, BudgetSettings, ThinkHarderSettings, ThinkSettings
from lpt.synthesis import bring, budget
from lpt.synthesis.ask import Asked, ask
from lpt.synthesis.ask import template as ask_template
from lpt.synthesis.bring import Brought, Own
from lpt.synthesis.think import system, think
from lpt.synthesis.think_harder import cues, think_harder
from lpt.synthesis.think_harder import template as think_harder_template

Until: TypeAlias = Literal["ask", "think", "think_harder"]
Sent = TypeVar("Sent")
Made = TypeVar("Made")


class Trip(msgspec.Struct):
    """What one image's journey brought, in the order of the tables."""

    caption: Caption
    questions: list[Question] = []
    thoughts: list[Thought] = []
    long_thoughts: list[LongThought] = []
    drops: list[Drop] = []

    def sort(self, cues: Sequence[str] = ()) -> "Trip":
        """Put everything into the order of the tree, whatever the order of arrival, and cues into the recipe's."""
        question = {q.id: i for i, q in enumerate(sorted(self.questions, key=lambda q: q.index))}
        self.questions.sort(key=lambda q: q.index)
        self.thoughts.sort(key=lambda t: (question[t.question], t.index))
        thought = {t.id: i for i, t in enumerate(self.thoughts)}
        cue = {words: i for i, words in enumerate(cues)}
        self.long_thoughts.sort(key=lambda t: (thought[t.thought], cue.get(t.cue, 0), t.index))
        self.drops.sort(key=lambda drop: (drop.stage, drop.id))
        return self


class Travel:
    """Knows the three stages, their models and their order; takes one image through them."""

    def __init__(
        self,
        models: dict[str, Model],
        ask_settings: AskSettings | None,
        think_settings: ThinkSettings,
        think_harder_settings: ThinkHarderSettings | None,
        *,
        own: Own | None = None,
        budget: BudgetSettings,
        seed: int,
        until: Until = "think_harder",
        prepare: Callable[[Caption], Awaitable[Image | Drop]],
        tell: Callable[[Stage, int, int], None] = lambda _stage, _made, _dropped: None,
    ) -> None:
        self._models = models
        self._ask = ask_settings
        self._own = own
        self._think = think_settings
        self._harder = think_harder_settings
        self._budget = budget
        self._seed = seed
        self._until = until
        self._prepare = prepare
        self._tell = tell
        self._system = system(think_settings)
        # A prompt file that cannot be used is told before anything is asked.
        if ask_settings:
            ask_template(ask_settings)
        if own:
            bring.template(own.settings)
        if think_harder_settings:
            think_harder_template(think_harder_settings)

    async def __call__(self, caption: Caption, rank: int) -> Trip:
        """Take one captioned image all the way.

        A call that fails costs its own branch and becomes drops; an error that would befall every other image
        (`fatal`), and the wish to stop, end the journey.
        """
        trip = Trip(caption)
        image = await self._prepare(caption)
        brought = self._own.of(caption) if self._own else []
        if isinstance(image, Drop):
            lost = [bring.drop(item, image.reason, image.detail) for item in brought] if self._own else [image]
            self._note(trip, "ask", 0, lost)
            return trip
        if self._own:
            trip.questions, drops = await self._bring(caption, brought, self._own, rank)
        else:
            assert self._ask, "a run without questions of its own asks for them"
            model = self._models[self._ask.model]
            asked = ask(model, caption, self._ask, self._think, self._system, seed=self._seed, rank=rank)
            trip.questions, drops = await self._or_failed(asked, "ask", caption.id, caption.image, range(1))
        self._note(trip, "ask", len(trip.questions), drops)
        if self._until != "ask":
            await together(self._answer(trip, question, image, rank) for question in trip.questions)
        return trip.sort(cues(self._harder) if self._harder else ())

    async def _bring(
        self, caption: Caption, brought: list[Brought], own: Own, rank: int
    ) -> tuple[list[Question], list[Drop]]:
        """The questions that were brought along, as they will be shown; open ones are given options first."""

        async def complete(item: Brought) -> tuple[int, Asked | Drop]:
            model = self._models[own.settings.options_from or ""]
            try:
                made = bring.complete(model, item, caption, own.settings, seed=self._seed, rank=rank)
                return item.index, await made
            except ModelError as error:
                if error.fatal:
                    raise
                return item.index, bring.drop(item, lost_as(error.kind), error.kind)

        completed = dict(await together(complete(item) for item in brought if not item.options))
        options = {index: made for index, made in completed.items() if isinstance(made, Asked)}
        drops = [made for made in completed.values() if isinstance(made, Drop)]
        questions, unsound = bring.check(brought, options, caption, self._think, self._system, self._seed)
        return questions, drops + unsound

    async def _answer(self, trip: Trip, question: Question, image: Image, rank: int) -> None:
        useful = await self._thoughts(trip, question, image, rank)
        if self._until == "think":
            return
        caption = trip.caption.text
        if not caption:  # an image of one's own question set that came without one
            lost = [Drop.make("think_harder", thought.id, thought.image, "no-caption") for thought in useful]
            self._note(trip, "think_harder", 0, lost)
        elif self._budget.mode == "exhaustive":
            await together(self._continue(trip, thought, question, caption, rank) for thought in useful)
        else:
            lines = ([t for t in useful if t.verdict == verdict] for verdict in ("correct", "wrong"))
            await together(self._fill(trip, line, question, caption, rank) for line in lines)

    async def _thoughts(self, trip: Trip, question: Question, image: Image, rank: int) -> list[Thought]:
        """Draw thoughts until the budget has enough; those that can be thought further."""
        useful: dict[int, Thought] = {}
        drawn = 0
        while count := budget.more_thoughts(
            [useful[i].verdict if i in useful else None for i in range(drawn)], self._think.samples, self._budget
        ):
            thought_of = think(
                self._models[self._think.model],
                question,
                image,
                self._think,
                seed=self._seed,
                rank=rank,
                first=drawn,
                count=count,
            )
            thoughts, drops = await self._or_failed(
                thought_of, "think", question.id, question.image, range(drawn, drawn + count)
            )
            drawn += count
            trip.thoughts += thoughts
            useless = {drop.record for drop in drops}
            self._note(trip, "think", len(thoughts) - len(useless & {t.id for t in thoughts}), drops)
            useful.update((thought.index, thought) for thought in thoughts if thought.id not in useless)
        return [useful[i] for i in sorted(useful)]

    async def _continue(self, trip: Trip, thought: Thought, question: Question, caption: str, rank: int) -> None:
        """Continue one thought in every way: all samples after every cue."""
        assert self._harder, "check_models has seen to it"
        samples = range(self._harder.samples)
        # The cues of one thought leave together: what they share stands in the server's prefix cache.
        await together(
            self._long_thoughts(trip, thought, question, caption, cue, samples, rank) for cue in cues(self._harder)
        )

    async def _fill(self, trip: Trip, thoughts: list[Thought], question: Question, caption: str, rank: int) -> None:
        """Continue thoughts of one verdict, a sample at a time, until the budget has what it wants of them."""
        assert self._harder, "check_models has seen to it"
        line = budget.Line(thoughts, cues(self._harder), self._harder.samples, self._budget, self._seed)
        while slots := line.next():
            made = await together(
                self._long_thoughts(
                    trip, slot.thought, question, caption, slot.cue, range(slot.sample, slot.sample + 1), rank
                )
                for slot in slots
            )
            line.came([longs[0] if longs else None for longs in made])

    async def _long_thoughts(
        self,
        trip: Trip,
        thought: Thought,
        question: Question,
        caption: str,
        cue: str,
        samples: range,
        rank: int,
    ) -> list[LongThought]:
        assert self._harder, "check_models has seen to it"
        made = think_harder(
            self._models[self._harder.model],
            thought,
            question,
            caption,
            cue,
            self._harder,
            seed=self._seed,
            rank=rank,
            first=samples.start,
            count=len(samples),
        )
        longs, drops = await self._or_failed(made, "think_harder", thought.id, thought.image, samples, cue)
        trip.long_thoughts += longs
        useless = {drop.record for drop in drops} & {long.id for long in longs}
        self._note(trip, "think_harder", len(longs) - len(useless), drops)
        return longs

    async def _or_failed(
        self,
        made: Awaitable[tuple[list[Made], list[Drop]]],
        stage: Stage,
        parent: str,
        image: str,
        samples: range,
        detail: str = "",
    ) -> tuple[list[Made], list[Drop]]:
        """What a stage made, or a drop for each sample that a failed call leaves out."""
        try:
            return await made
        except ModelError as error:
            if error.fatal:
                raise
            return [], [Drop.lost(stage, parent, image, error.kind, detail, index=index) for index in samples]

    def _note(self, trip: Trip, stage: Stage, kept: int, drops: list[Drop]) -> None:
        trip.drops += drops
        self._tell(stage, kept, len(drops))


async def together(ways: Iterable[Awaitable[Made]]) -> list[Made]:
    """Go all ways at once.

    When one is interrupted, the others still come to their own end: a call that is out is paid for, and its
    reply is kept. Any other error ends them.
    """
    tasks = [asyncio.ensure_future(way) for way in ways]
    pending = set(tasks)
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                if not isinstance(task.exception(), Interrupted):
                    task.result()
        return [task.result() for task in tasks]
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # all: an error that nobody fetches is a noise at exit


async def journey(
    captions: Iterator[Sent], travel: Callable[[Sent, int], Awaitable[Made]], *, in_flight: int | Callable[[], int]
) -> AsyncGenerator[Made, None]:
    """Take many images through, `in_flight` at once, and yield their trips in the order of the captions.

    `in_flight` may change on the way; where it comes to nothing, no other sets out: those under way are last.
    When a journey is interrupted, no other sets out. When a model or the disk has failed for good, those under way
    are ended, too. Then whatever had come through is yielded, in order, and the error raised. An error that is none
    of these is a bug of ours, and raised at once.
    """
    running: dict[asyncio.Task[Made], int] = {}
    arrived: dict[int, Made] = {}
    head = 0  # the first rank that has not been yielded
    sent = 0
    interrupted = False
    failed: LptError | None = None
    source = enumerate(captions)
    exhausted = False
    try:
        while not failed:
            # One slow image holds back the table, not the others: they may run ahead of it, within reason.
            while not (exhausted or interrupted):
                most = in_flight if isinstance(in_flight, int) else in_flight()
                if len(running) >= most or sent - head >= 4 * most:
                    break
                try:
                    rank, caption = next(source)
                except StopIteration:
                    exhausted = True
                    break
                running[asyncio.ensure_future(travel(caption, rank))] = rank
                sent = rank + 1
            if not running:
                break
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                rank = running.pop(task)
                try:
                    arrived[rank] = task.result()
                except Interrupted:
                    interrupted = True
                except (ModelError, StoreError) as error:
                    failed = failed or error
            while head in arrived:
                yield arrived.pop(head)
                head += 1
        await _end(running)  # nobody goes on asking while what has arrived is put away
        for rank in sorted(arrived):
            yield arrived[rank]
        if failed:
            raise failed
        if interrupted:
            raise Interrupted("stopped; what was answered is kept")
    finally:
        await _end(running)


async def _end(tasks: Iterable[asyncio.Task[Made]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
