"""Which stages are carried out together, where not all models can live on one machine at the same time.

A phase is a run of stages that needs one launched server at most. It is drained before the next one begins: every
image goes as far as the phase reaches, and what the ledger knows of earlier phases takes it there again. So nothing
is handed over but replies, each model is loaded once, and the rows are those that all models at once would make.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from itertools import islice
from typing import NamedTuple, Protocol, TypeVar

from lpt.models.purse import Purse
from lpt.recipe import Recipe
from lpt.records import Caption, Stage
from lpt.settings import RunSettings
from lpt.synthesis.journey import Travel, Trip, Until, journey

Step = TypeVar("Step")
_STAGES: tuple[Until, ...] = ("ask", "think", "think_harder")


class Phase(NamedTuple):
    """Stages that are carried out together."""

    stages: tuple[Until, ...]
    models: tuple[str, ...]
    """Which of the recipe's models they ask."""

    @property
    def until(self) -> Until:
        """How far an image goes."""
        return self.stages[-1]

    def said(self) -> str:
        """What it does, in a few words."""
        stages = " and ".join(stage.replace("_", " ") for stage in self.stages)
        return f"{stages}, with {' and '.join(self.models) or 'no model'}"


def phases(recipe: Recipe, until: Until) -> list[Phase]:
    """The phases of a run, in order; a single one where all models live at once."""
    asked = {stage: _models(recipe, stage) for stage in _STAGES[: _STAGES.index(until) + 1]}
    return [
        Phase(tuple(group), tuple(dict.fromkeys(name for stage in group for name in asked[stage])))
        for group in together(recipe, asked)
    ]


def together(recipe: Recipe, asked: Mapping[Step, Sequence[str]]) -> list[list[Step]]:
    """Steps in their order, in groups that need one launched server at most; mixed: all in one.

    Args:
        recipe: its schedule, and how its models are reached.
        asked: the models that each step asks.
    """
    found: list[list[Step]] = [[]]
    launched: set[str] = set()
    for step, names in asked.items():
        commands = {command for name in names if (command := recipe.models[name].launch)}
        if recipe.run.schedule == "phased" and found[-1] and len(launched | commands) > 1:
            found.append([])
            launched = set()
        launched |= commands
        found[-1].append(step)
    return found


def _models(recipe: Recipe, stage: Until) -> Sequence[str]:
    if stage == "ask" and recipe.questions:
        return [recipe.questions.options_from] if recipe.questions.options_from else []
    return [name] if (name := recipe.used_by().get(stage)) else []


class Listener(Protocol):
    """Who is told how it goes."""

    def tell(self, stage: Stage, kept: int, dropped: int) -> None:
        """Something came through a stage, or did not."""

    def say(self, message: str) -> None:
        """A phase begins."""


class Schedule:
    """Takes images through one phase after the other, in rounds."""

    def __init__(
        self,
        phases: Sequence[Phase],
        travel: Callable[[Phase, Callable[[Stage, int, int], None]], Travel],
        *,
        enter: Callable[[Phase], Awaitable[None]],
        purse: Purse,
        settings: RunSettings,
        listener: Listener | None = None,
    ) -> None:
        """Begin.

        Args:
            phases: in their order.
            travel: the way of an image through the stages up to the end of a phase.
            enter: is called before each of several phases: servers that others launched are to make room.
            purse: what may be spent.
            settings: the recipe's.
            listener: is told how it goes.
        """
        self._phases = phases
        self._travel = travel
        self._enter = enter
        self._purse = purse
        self._settings = settings
        self._listener = listener

    async def trips(self, captions: Iterator[Caption]) -> AsyncGenerator[Trip, None]:
        """What the journeys of all captions bring, in their order.

        Raises:
            Interrupted, ModelError, StoreError: as `journey`, from whatever phase.
        """
        if len(self._phases) == 1:
            async with aclosing(self._through(self._phases[0], captions)) as trips:
                async for trip in trips:
                    yield trip
            return
        *before, last = self._phases
        rounds = 0
        while some := list(islice(captions, self._size(rounds))):
            rounds += 1
            for phase in before:
                await self._begin(phase, rounds)
                async with aclosing(self._through(phase, iter(some))) as trips:
                    async for _ in trips:
                        pass
            await self._begin(last, rounds)
            async with aclosing(self._through(last, iter(some))) as trips:
                async for trip in trips:
                    yield trip

    def _through(self, phase: Phase, captions: Iterator[Caption]) -> AsyncGenerator[Trip, None]:
        """Images as far as a phase reaches."""
        purse, most = self._purse, self._settings.images_in_flight
        alone = len(self._phases) == 1

        def tell(stage: Stage, kept: int, dropped: int) -> None:
            if self._listener and stage in phase.stages:  # those before it were told of in their own phase
                self._listener.tell(stage, kept, dropped)

        def in_flight() -> int:
            if alone:
                return purse.room(most)
            return 0 if purse.spent else most  # a round is what can be paid for

        travel: Callable[[Caption, int], Awaitable[Trip]] = self._travel(phase, tell)
        if phase is self._phases[-1]:
            travel = purse.counts(travel)
        return journey(captions, travel, in_flight=in_flight)

    def _size(self, rounds: int) -> int | None:
        """How many images the next round has; None: all that are left."""
        size = self._settings.round or None
        if not self._purse.limited:
            return size
        assert size, "a limit needs rounds"
        if self._purse.spent:
            return 0
        return self._purse.room(size) if rounds else size

    async def _begin(self, phase: Phase, rounds: int) -> None:
        await self._enter(phase)
        if self._listener:
            of = f"round {rounds}, " if self._settings.round else ""
            number = self._phases.index(phase) + 1
            self._listener.say(f"{of}phase {number} of {len(self._phases)}: {phase.said()}")
