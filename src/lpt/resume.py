"""Resuming: what an earlier run of the same kind finished is taken over; what is new or lacks something travels.

Both come together in the order of the captions, so the tables are those that a run would make which derives
everything: from the same replies, the same bytes. Which rows are whose is kept by `lpt.store.finished`.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import cache
from importlib import resources
from typing import Any, NamedTuple, Protocol

import msgspec
import polars as pl

from lpt.chat import Template
from lpt.own import Desk
from lpt.recipe import Recipe
from lpt.records import Caption, Drop, LongThought, Question, Stage, Thought, digest
from lpt.settings import ModelSettings
from lpt.store import manifest
from lpt.store.finished import ROWS, Finished, Journal, Span
from lpt.store.run import Run
from lpt.synthesis import prompts
from lpt.synthesis.journey import Trip

_OURS = (
    "synthesis",
    "records.py",
    "models/anew.py",
    "models/base.py",
    "models/recorded.py",
    "store/ledger.py",
    "captions/prepare.py",
    "captions/pixels.py",
)
"""The code that rows are derived by. Whoever changes it changes the fingerprint, and need not think of it."""

_STAGES: tuple[Stage, Stage, Stage] = ("ask", "think", "think_harder")


class Teller(Protocol):
    """Who is told of images that were there already."""

    def tell(self, stage: Stage, kept: int, dropped: int) -> None:
        """Something came through a stage, or did not."""

    def known(self, images: int) -> None:
        """So many images had come all the way before."""


def fingerprint(recipe: Recipe, until: str) -> str:
    """A hash of everything but the captions and the replies that a run's rows depend on.

    Left out: how captions are found and sets composed, where models run and how many calls they take at once.
    A caption's own hash says what it is about, and the ledger's key names models as they are named here.

    Raises:
        UserError: a prompt file or a template cannot be read.
    """
    stages = {
        name: settings
        for name in ("ask", "think", "think_harder", "questions")
        if (settings := getattr(recipe, name)) is not None
    }
    asked = {settings.model for name, settings in stages.items() if name != "questions"}
    if recipe.questions and recipe.questions.options_from:
        asked.add(recipe.questions.options_from)
    models = {name: model for name, model in sorted(recipe.models.items()) if name in asked}
    sizes = recipe.captions
    said: list[Any] = [
        until,
        recipe.seed,
        recipe.ledger,
        recipe.budget,
        [sizes.max_pixels, sizes.longest_side, sizes.quality],
        stages,
        [[name, m.model, m.version, m.extra, *_continued(m)] for name, m in models.items()],
        [prompts.load(name, settings.prompt) for name, settings in stages.items() if settings.prompt],
        _sources(),
    ]
    return digest("finished", msgspec.json.encode(said, order="deterministic"))


def _continued(model: ModelSettings) -> tuple[bool, str]:
    """What the ledger's key says of the way in which a turn is continued."""
    here = model.template if model.prefill == "completions" else None
    return model.prefill == "instructed", Template.load(here).key if here else ""


@cache
def _sources() -> str:
    """A hash of the code and of the prompts that are ours."""
    found: list[tuple[str, bytes]] = []

    def walk(place: Any, path: str) -> None:
        if place.is_dir():
            for inner in place.iterdir():
                walk(inner, f"{path}/{inner.name}")
        elif path.endswith((".py", ".txt")):
            found.append((path, place.read_bytes()))

    for path in _OURS:
        walk(resources.files("lpt").joinpath(path), path)
    return digest(*(part for pair in sorted(found) for part in pair))


class _Sent(NamedTuple):
    """A caption that travels."""

    caption: str
    essence: str


class Arrivals:
    """The tables that a journey fills, and the rows that it need not make: both in the order of the captions."""

    broken = False
    """Whether something could be written in part only."""

    def __init__(
        self,
        stack: ExitStack,
        run: Run,
        captions: Iterator[Caption],
        journal: Journal,
        before: Finished | None,
        *,
        desk: Desk | None = None,
        teller: Teller | None = None,
    ) -> None:
        tables = stack.enter_context(run.writing())
        self.arrived = 0
        """Images whose rows stand in the tables."""
        self.travelled = 0
        """Those of them that came by themselves."""
        self._questions = tables.open("questions", Question)
        self._thoughts = tables.open("thoughts", Thought)
        self._long_thoughts = tables.open("long_thoughts", LongThought)
        self._drops = tables.open("drops", Drop)
        self._journal = journal
        self._before = before
        self._desk = desk
        self._teller = teller
        self._queue: deque[_Sent | Span] = deque()
        self._travellers = self._sort(captions)

    def drops(self, drops: Iterable[Drop]) -> None:
        """What left before it could travel."""
        self._drops.write(drops)

    def travellers(self) -> Iterator[Caption]:
        """The captions that must travel. Those that need not are noted, as few words however many they are."""
        return self._travellers

    def _sort(self, captions: Iterator[Caption]) -> Iterator[Caption]:
        for caption in captions:
            essence = _essence(caption, self._desk)
            span = self._before.of(caption.id, essence) if self._before else None
            if span is None:
                self._queue.append(_Sent(caption.id, essence))
                yield caption
                continue
            if self._desk:
                self._desk.of(caption)
            last = self._queue[-1] if self._queue else None
            joined = last.joined(span) if isinstance(last, Span) else None
            if joined:
                self._queue.pop()
            self._queue.append(joined or span)

    def trip(self, trip: Trip) -> None:
        """Write what a journey brought, after all that stands before it."""
        self.broken = True
        sent = self._come_to(trip.caption.id)
        assert sent, "a trip is of a caption that was sent, and they come in order"
        self._questions.write(trip.questions)
        self._thoughts.write(trip.thoughts)
        self._long_thoughts.write(trip.long_thoughts)
        self._drops.write(trip.drops)
        rows = (len(trip.questions), len(trip.thoughts), len(trip.long_thoughts))
        lost = {drop.record for drop in trip.drops}
        useless = (sum(t.id in lost for t in trip.thoughts), sum(t.id in lost for t in trip.long_thoughts))
        self._journal.add(sent.caption, sent.essence, rows, useless, trip.drops)
        self.arrived += 1
        self.travelled += 1
        self.broken = False

    def rest(self) -> None:
        """Take over what stands after the last trip, also where the journey did not come to its end."""
        self.broken = True
        if self._before:
            for caption in self._travellers:  # they stay at home
                if self._desk:
                    self._desk.of(caption)
                self._come_to(None)
        self._come_to(None)
        self.broken = False

    def _come_to(self, caption: str | None) -> _Sent | None:
        """Take over what waits before a caption (None: all that waits). Who was sent before it did not arrive."""
        while self._queue:
            first = self._queue.popleft()
            if isinstance(first, Span):
                self._take_over(first)
            elif first.caption == caption:
                return first
        return None

    def _take_over(self, span: Span) -> None:
        assert self._before
        tables = dict(zip(ROWS, (self._questions, self._thoughts, self._long_thoughts), strict=True))
        for name, rows in self._before.rows(span):
            tables[name].write_rows(rows)
        self._journal.adopt(self._before, span)
        self.arrived += span.last - span.first + 1
        _each_drops(self._before, span, self._drops.write, self._teller)


def all_finished(run: Run, before: Finished, desk: Desk | None) -> Span | None:
    """Everything as one, where an earlier run finished these very captions, all of them and no others."""
    span: Span | None = None
    for caption in desk.captions() if desk else run.captions():
        found = before.of(caption.id, _essence(caption, desk))
        if desk:
            desk.of(caption)
        span = found if span is None or found is None else span.joined(found)
        if span is None:
            return None
    return span if span and (span.first, span.last) == (1, before.captions) else None


def take_over_all(run: Run, before: Finished, span: Span, drops: list[Drop], teller: Teller | None) -> None:
    """Let the tables stand as they are: drops, too, unless others were made at the intake."""
    wanted = [drop.id for drop in drops]
    _each_drops(before, span, lambda found: wanted.extend(drop.id for drop in found), teller)
    if not manifest.whole(run.tables, "drops") or _drop_ids(run) != sorted(wanted):
        with run.writing() as tables:
            table = tables.open("drops", Drop)
            table.write(drops)
            _each_drops(before, span, table.write, None)


def _drop_ids(run: Run) -> list[str]:
    there = run.table("drops").filter(pl.col("stage").is_in(("captions", *_STAGES))).select("id").collect()["id"]
    return sorted(there.to_list())


def _each_drops(before: Finished, span: Span, write: Callable[[list[Drop]], None], teller: Teller | None) -> None:
    """Write the drops of a span, and tell what there is."""
    lost: Counter[str] = Counter()
    for drops in before.drops(span):
        write(drops)
        lost.update(drop.stage for drop in drops)
    if teller:
        for stage, kept in zip(_STAGES, before.kept(span), strict=True):
            if kept or lost[stage]:
                teller.tell(stage, kept, lost[stage])
        teller.known(span.last - span.first + 1)


def _essence(caption: Caption, desk: Desk | None) -> str:
    """A hash of all that a journey sets out with: picture, words, side of the split, one's own questions."""
    brought = msgspec.json.encode(desk.waiting(caption)) if desk else None
    return digest("essence", caption.id, caption.split, brought)
