"""A whole verification, from a run's tables to its judgements: opens what it needs, asks, writes what was said.

The images travel as they do in `lpt.pipeline`: many at once, the oldest first, in the order of the table. What the
ledger knows is not asked again, so verifying again costs only what failed, is new, or is asked differently.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Protocol, TypeVar

import msgspec
import polars as pl

from lpt.curate import candidates, filters
from lpt.curate import verify as asking
from lpt.curate.verify import Asked, Trace
from lpt.errors import Interrupted, RunError, StoreError, UserError
from lpt.models.base import Image
from lpt.models.fleet import Fleet
from lpt.models.recorded import Recorded, Traffic
from lpt.phases import together
from lpt.pipeline import preparer, stopping_at_ctrl_c
from lpt.recipe import Recipe
from lpt.records import CHECKS, Caption, Check, Judgement, Question
from lpt.settings_verify import VerifySettings
from lpt.store.ledger import Ledger
from lpt.store.lock import held
from lpt.store.run import Run
from lpt.store.tables import TableWriter, empty_frame, scan_table
from lpt.synthesis.journey import journey
from lpt.synthesis.journey import together as at_once

Record = TypeVar("Record", bound=msgspec.Struct)


class Watcher(Protocol):
    """Whoever wants to know how a verification is going."""

    def begin(self, images: int, models: dict[str, Traffic]) -> None:
        """The tables are read; `models` count what goes through them, live."""

    def tell(self, stage: str, kept: int, dropped: int) -> None:
        """A check judged so many records, and could not judge so many."""

    def arrived(self) -> None:
        """All about one image is judged."""

    def stopping(self) -> None:
        """Ctrl-C: calls that are out come home, no new ones start."""

    def say(self, message: str) -> None:
        """Something is to be known while it goes on: a server is down, and waited for."""


class _Case(msgspec.Struct, frozen=True):
    """All about one image that is to be judged."""

    caption: Caption
    questions: list[Question]
    traces: list[tuple[Trace, Question]]


def verify(
    run: Run, recipe: Recipe | None = None, *, checks: Sequence[Check] = (), watcher: Watcher | None = None
) -> Run:
    """Ask models about a run's questions and long thoughts, and write what they said to its table `judgements`.

    A check that is not asked for keeps the judgements that it has.

    Args:
        run: what to verify.
        recipe: the run's recipe with other checks or models; kept with the run from then on. By default its own.
        checks: only these; by default all that the recipe has a section for.
        watcher: is told how it goes.

    Raises:
        RunError: the run has no tables yet, or is in use.
        RecipeError: no check, or a model that is not there.
        ModelError: a model refuses everything, or has gone.
        StoreError: the disk failed.
        Interrupted: Ctrl-C; judgements are as before, and what was answered is kept in the ledger.
    """
    recipe = recipe or run.recipe
    recipe.check_verify()
    chosen = tuple(check for check in CHECKS if getattr(recipe.verify, check) and (not checks or check in checks))
    if missing := [check for check in checks if check not in chosen]:
        raise UserError(f"the recipe has no [verify.{missing[0]}]: say at least which `model` it asks")
    if not run.has("questions"):
        raise RunError(f"{run.path} has nothing to verify yet: `lpt run RECIPE --out {run.path}` makes it")
    with ExitStack() as stack:
        stack.enter_context(held(run.path))
        run = Run.create(run.path, recipe)
        ledger = stack.enter_context(Ledger(run.ledger_path, str(run.path)))
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_verify(run, chosen, ledger, watcher))
            return run
    raise Interrupted("stopped at once; what was answered is kept")


async def _verify(run: Run, checks: tuple[Check, ...], ledger: Ledger, watcher: Watcher | None) -> None:
    recipe = run.recipe
    stop = asyncio.Event()
    parts = candidates.ranges(run)
    new = run.path / "tables" / ".judged.parquet"
    try:
        with stopping_at_ctrl_c(stop, watcher):
            said = {"say": watcher.say} if watcher else {}
            async with Fleet(recipe.models, run.path / "logs", stop, **said) as fleet:
                models = {
                    name: Recorded(fleet[name], settings, ledger, stop) for name, settings in recipe.models.items()
                }
                if watcher:
                    images = run.table("questions").select(pl.col("image").n_unique()).collect().item()
                    watcher.begin(images, {name: model.traffic for name, model in models.items()})
                asked = {check: [settings.model] for check in checks if (settings := getattr(recipe.verify, check))}
                groups = together(recipe, asked)
                with TableWriter(new, Judgement) as writer:
                    for group in groups:
                        if len(groups) > 1:
                            await fleet.only([name for check in group for name in asked[check]])
                        judge = _Judge(run, models, tuple(group), watcher)
                        cases = _cases(run, parts, tuple(group))
                        ways = journey(cases, judge, in_flight=recipe.run.images_in_flight)
                        async with contextlib.aclosing(ways):  # calls end before the fleet that they go to
                            async for judgements in ways:
                                writer.write(judgements)
                                if watcher and group is groups[-1]:
                                    watcher.arrived()
        rows = scan_table(new, Judgement).collect()
        kept = _others(run, checks)
        with run.writing() as tables:
            every = pl.concat([kept, rows]).sort("image", "check", "record")
            tables.open("judgements", Judgement).write_frame(every)
    finally:
        new.unlink(missing_ok=True)


def _others(run: Run, checks: tuple[Check, ...]) -> pl.DataFrame:
    """The judgements of other checks, which stay. A table that is torn is no loss when all checks are made."""
    try:
        return run.table("judgements").filter(~pl.col("check").is_in(checks)).collect()
    except StoreError:
        if any(getattr(run.recipe.verify, check) for check in CHECKS if check not in checks):
            raise
        return empty_frame(Judgement)


class _Judge:
    """Takes one image through the checks."""

    def __init__(
        self, run: Run, models: dict[str, Recorded], checks: tuple[Check, ...], watcher: Watcher | None
    ) -> None:
        self._recipe = run.recipe
        self._settings: VerifySettings = run.recipe.verify
        self._models = models
        self._checks = checks
        self._watcher = watcher
        self._prepare = preparer(run)
        for check in checks:  # a prompt file that cannot be used is told before anything is asked
            asking.template(check, getattr(self._settings, check))

    async def __call__(self, case: _Case, rank: int) -> list[Judgement]:
        """Everything that is judged about one image, in the order of the table."""
        made: list[Judgement] = []
        ways: list[Awaitable[Judgement]] = []
        image = await self._prepare(case.caption) if "disagree" in self._checks else None
        if (disagree := self._settings.disagree) and image:
            asked = self._asked(disagree.model, rank)
            if isinstance(image, Image):
                ways += [asking.disagree(asked, question, image, disagree) for question in case.questions]
            else:  # its file has gone: nobody can be asked
                made += [asking.failed("disagree", question, asked) for question in case.questions]
        if (blind := self._settings.blind) and "blind" in self._checks:
            asked = self._asked(blind.model, rank)
            ways += [asking.blind(asked, question, blind) for question in case.questions]
        if (consistency := self._settings.consistency) and "consistency" in self._checks:
            asked = self._asked(consistency.model, rank)
            ways += [asking.consistency(asked, trace, question, consistency) for trace, question in case.traces]
        for judgement in made:
            self._tell(judgement)
        made += await at_once([self._told(way) for way in ways])
        return sorted(made, key=lambda one: (one.check, one.record))

    def _asked(self, name: str, rank: int) -> Asked:
        settings = self._recipe.models[name]
        called = f"{settings.model} {settings.version}".strip()
        return Asked(self._models[name], called, self._recipe.seed, rank)

    async def _told(self, way: Awaitable[Judgement]) -> Judgement:
        judgement = await way
        self._tell(judgement)
        return judgement

    def _tell(self, judgement: Judgement) -> None:
        if self._watcher:
            judged = judgement.outcome == "judged"
            self._watcher.tell(judgement.check, int(judged), int(not judged))


def _cases(run: Run, parts: Iterable[candidates.Range], checks: tuple[Check, ...]) -> Iterator[_Case]:
    """What is to be judged, an image at a time, a range of images in memory."""
    rules = {name: rule for name, rule in filters.resolve(run.recipe.curate).items() if name not in filters.JUDGED}
    useless = candidates.Useless.of_run(run)
    consistency = run.recipe.verify.consistency
    for part in parts:
        questions: defaultdict[str, dict[str, Question]] = defaultdict(dict)
        for question in _records(candidates.of(run, "questions", part), Question):
            questions[question.caption][question.id] = question
        traces: defaultdict[str, list[Trace]] = defaultdict(list)
        if consistency and "consistency" in checks:
            frame = candidates.read(run, part, useless)
            frame = frame.filter((pl.col("kind") == "long") & pl.col("category").is_in(consistency.categories))
            # What a filter that costs nothing drops is not worth a question.
            gone = filters.judge(frame, rules, run.recipe.curate)
            frame = frame.join(gone.select("id"), on="id", how="anti").sort("id")
            columns = frame.select("id", "image", "whole", "letter", "question")
            for id_, image, whole, letter, about in columns.iter_rows():
                traces[about].append(Trace(id_, image, whole, letter))
        for caption in _records(candidates.of(run, "captions", part), Caption):
            if mine := questions.get(caption.id):
                yield _Case(caption, list(mine.values()), [(t, q) for q in mine.values() for t in traces[q.id]])


def _records(rows: pl.LazyFrame, kind: type[Record]) -> list[Record]:
    return [msgspec.convert(row, kind) for row in rows.collect().iter_rows(named=True)]
