"""A whole run, from a recipe to tables: opens what it needs, sends the images on their way, writes what arrives."""

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import msgspec

from lpt import own
from lpt.captions.intake import read as read_captions
from lpt.captions.prepare import prepare
from lpt.errors import Interrupted, RunError
from lpt.models.base import Image, Model
from lpt.models.fleet import Fleet
from lpt.models.recorded import Recorded, Traffic
from lpt.recipe import Recipe
from lpt.records import Caption, Drop, LongThought, Question, Stage, Thought
from lpt.store.ledger import Ledger
from lpt.store.run import Run
from lpt.store.tables import TableWriter, read_table, sort_table
from lpt.synthesis.bring import Own
from lpt.synthesis.journey import Travel, Trip, Until, journey


class Watcher(Protocol):
    """Whoever wants to know how a run is going."""

    def begin(self, images: int, models: dict[str, Traffic]) -> None:
        """The captions are read; `models` count what goes through them, live."""

    def tell(self, stage: Stage, kept: int, dropped: int) -> None:
        """Something came through a stage, or did not."""

    def arrived(self) -> None:
        """An image has come all the way."""

    def stopping(self) -> None:
        """The run was asked to stop: it waits for the calls that are out."""


class State(msgspec.Struct, frozen=True):
    """How far a run got: `RUN/state.json`."""

    complete: bool
    images: int
    of: int
    until: str

    @staticmethod
    def of_run(run: Run) -> "State | None":
        """What the run last said of itself; None when it never came to say anything."""
        path = run.path / "state.json"
        return msgspec.json.decode(path.read_bytes(), type=State) if path.exists() else None

    def save(self, run: Run) -> None:
        """Write it in place, whole."""
        part = run.path / ".state.json.part"
        part.write_bytes(msgspec.json.encode(self))
        part.replace(run.path / "state.json")


def synthesize(
    recipe: Recipe,
    out: str | Path,
    *,
    limit: int | None = None,
    until: Until = "think_harder",
    watcher: Watcher | None = None,
) -> Run:
    """Carry a recipe out into a run folder: read captions, ask the three models, write the tables.

    What the ledger knows is not asked again, so the same call goes on where an earlier one was stopped.

    Args:
        recipe: what to do.
        out: the run folder; made if it is not there.
        limit: take only this many captions, from the start of the source.
        until: stop after this stage.
        watcher: is told how it goes.

    Raises:
        UserError: the recipe, the source or the folder cannot be used.
        ModelError: a model refuses everything, or has gone.
        StoreError: the disk failed.
        Interrupted: Ctrl-C; the tables hold the images that had come through.
    """
    recipe.check_models(until)
    with ExitStack() as stack:
        stack.enter_context(held(Run.folder(out)))
        run = Run.create(out, recipe)
        if recipe.questions:
            captions, drops = own.take_in(run, limit, captions_needed=until == "think_harder")
        else:
            captions, drops = _take_in(run, limit)
        ledger = stack.enter_context(Ledger(run.ledger_path))
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_travel(run, captions, drops, ledger, until, watcher))
            return run
    raise Interrupted("stopped at once; what was answered is kept")


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the run folder for this process alone.

    Raises:
        RunError: another process holds it.
    """
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise RunError(
                f"{folder} is in use by {holder}: wait for it, or stop it, or choose another --out"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield


def _take_in(run: Run, limit: int | None) -> tuple[int, list[Drop]]:
    """Read the source into the captions table, ordered by image hash; the number of captions, and the drops."""
    recipe = run.recipe
    drops: list[Drop] = []

    def kept() -> Iterator[Caption]:
        for item in read_captions(
            recipe.captions,
            base=run.path,
            run_images=run.images,
            seed=recipe.seed,
            validation=recipe.curate.validation,
            limit=limit,
        ):
            if isinstance(item, Drop):
                drops.append(item)
            else:
                yield item

    path = run.table_path("captions")
    with TableWriter(path, Caption) as writer:
        writer.write(kept())
    images = sort_table(path, Caption, "image", "id")
    drops.sort(key=lambda drop: drop.id)
    return images, drops


async def _travel(
    run: Run, images: int, drops: list[Drop], ledger: Ledger, until: Until, watcher: Watcher | None
) -> None:
    recipe = run.recipe
    assert recipe.think, "check_models has seen to it"
    stop = asyncio.Event()
    with stopping_at_ctrl_c(stop, watcher):
        async with Fleet(recipe.models, run.path / "logs", stop) as fleet:
            models = {
                name: Recorded(fleet[name], settings, ledger, stop) for name, settings in recipe.models.items()
            }
            if watcher:
                watcher.begin(images, {name: model.traffic for name, model in models.items()})
                for drop in drops:
                    watcher.tell(drop.stage, 0, 1)
            desk = own.Desk(run) if recipe.questions else None
            travel = Travel(
                dict[str, Model](models),
                recipe.ask,
                recipe.think,
                recipe.think_harder,
                own=Own(recipe.questions, desk.of) if recipe.questions and desk else None,
                budget=recipe.budget,
                seed=recipe.seed,
                until=until,
                prepare=preparer(run),
                **({"tell": watcher.tell} if watcher else {}),
            )
            captions = desk.captions() if desk else read_table(run.table_path("captions"), Caption)
            trips = journey(captions, travel, in_flight=recipe.run.images_in_flight)
            arrived = 0
            complete = False
            with ExitStack() as tables:
                write = _Tables(tables, run)
                write.drops(drops)
                try:
                    async with contextlib.aclosing(trips):  # calls end before the fleet that they go to
                        async for trip in trips:
                            write.trip(trip)
                            arrived += 1
                            if watcher:
                                watcher.arrived()
                    complete = True
                except Interrupted:
                    pass  # what has arrived is worth a table; it is raised again below, when it is safe
            State(complete, arrived, images, until).save(run)
            if not complete:
                raise Interrupted(f"stopped after {arrived} of {images} images; what was answered is kept")


class _Tables:
    """The four tables that a journey fills, open while it lasts."""

    def __init__(self, stack: ExitStack, run: Run) -> None:
        def open_(name: str, kind: type[msgspec.Struct]) -> TableWriter:
            return stack.enter_context(TableWriter(run.table_path(name), kind))

        self._questions = open_("questions", Question)
        self._thoughts = open_("thoughts", Thought)
        self._long_thoughts = open_("long_thoughts", LongThought)
        self._drops = open_("drops", Drop)

    def drops(self, drops: list[Drop]) -> None:
        self._drops.write(drops)

    def trip(self, trip: Trip) -> None:
        self._questions.write(trip.questions)
        self._thoughts.write(trip.thoughts)
        self._long_thoughts.write(trip.long_thoughts)
        self._drops.write(trip.drops)


class preparer:  # noqa: N801 (used as a function)
    """Encodes an image once for all the requests that show it, in a thread, two at a time."""

    def __init__(self, run: Run) -> None:
        self._images = run.images
        self._settings = run.recipe.captions
        self._hands = asyncio.Semaphore(2)

    async def __call__(self, caption: Caption) -> Image | Drop:
        """The image of a caption, ready to be sent; a drop where its file has gone."""
        async with self._hands:
            try:
                return await asyncio.to_thread(prepare, self._images / caption.path, caption.image, self._settings)
            except (OSError, ValueError):
                # It could be read when the captions were taken in.
                return Drop.make("ask", caption.id, caption.image, "image-gone", caption.path)


@contextlib.contextmanager
def stopping_at_ctrl_c(stop: asyncio.Event, watcher: Watcher | None) -> Iterator[None]:
    """The first Ctrl-C lets calls that are out come home and starts no new ones; the second one ends it all."""
    loop = asyncio.get_running_loop()

    def first() -> None:
        stop.set()
        if watcher:
            watcher.stopping()
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, first)
    except (ValueError, RuntimeError):  # not in the main thread: whoever called us minds the signals
        yield
        return
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
