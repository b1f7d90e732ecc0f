"""A whole run, from a recipe to tables: opens what it needs, sends the images on their way, writes what arrives."""

import asyncio
import contextlib
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from lpt import own, resume
from lpt.captions.intake import read as read_captions
from lpt.captions.known import Known, forget
from lpt.captions.prepare import ImageChanged, prepare
from lpt.errors import Interrupted, ModelError, RunError, StoreError, UserError
from lpt.models.base import Image, Model
from lpt.models.fleet import Fleet
from lpt.models.purse import Means, Purse
from lpt.models.recorded import Recorded, Traffic
from lpt.partition import Sieve
from lpt.phases import Phase, Schedule, phases
from lpt.recipe import Recipe
from lpt.records import Caption, Drop, Stage
from lpt.store.finished import Finished, Journal
from lpt.store.ledger import Ledger
from lpt.store.lock import held
from lpt.store.run import Run
from lpt.synthesis.bring import Own
from lpt.synthesis.journey import Travel, Until


class Watcher(Protocol):
    """Whoever wants to know how a run is going."""

    def begin(self, images: int, models: dict[str, Traffic]) -> None:
        """The captions are read; `models` count what goes through them, live."""

    def tell(self, stage: Stage, kept: int, dropped: int) -> None:
        """Something came through a stage, or did not."""

    def arrived(self) -> None:
        """An image has come all the way."""

    def known(self, images: int) -> None:
        """So many images had come all the way before, and are there at once."""

    def stopping(self) -> None:
        """The run was asked to stop: it waits for the calls that are out."""

    def say(self, message: str) -> None:
        """Something is to be known while it goes on: a server is down, and waited for."""


class Silent(Watcher):
    """Is told and says nothing: to stand on for whoever wants to know one thing alone."""

    def begin(self, images: int, models: dict[str, Traffic]) -> None:
        """Nothing."""

    def tell(self, stage: Stage, kept: int, dropped: int) -> None:
        """Nothing."""

    def arrived(self) -> None:
        """Nothing."""

    def known(self, images: int) -> None:
        """Nothing."""

    def stopping(self) -> None:
        """Nothing."""

    def say(self, message: str) -> None:
        """Nothing."""


class _Stopping(Protocol):
    def stopping(self) -> None: ...


class State(msgspec.Struct, frozen=True):
    """How far a run got: `RUN/state.json`."""

    complete: bool
    images: int
    of: int
    until: str

    @staticmethod
    def of_run(run: Run) -> "State | None":
        """What the run last said of itself; None when it never came to say anything.

        Raises:
            RunError: what it said cannot be read.
        """
        path = run.path / "state.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=State) if path.exists() else None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RunError(
                f"{path} cannot be read ({error}): the same `lpt run` writes it anew, and asks nothing twice"
            ) from error

    def save(self, run: Run) -> None:
        """Write it in place, whole."""
        part = run.path / ".state.json.part"
        try:
            part.write_bytes(msgspec.json.encode(self))
            part.replace(run.path / "state.json")
        except OSError as error:
            raise StoreError(
                f"{part} could not be written ({error.strerror}): see to the disk and run the same command again; "
                "no reply is asked for twice"
            ) from error


def synthesize(
    recipe: Recipe,
    out: str | Path,
    *,
    limit: int | None = None,
    until: Until = "think_harder",
    means: Means | None = None,
    watcher: Watcher | None = None,
    only: Sieve | None = None,
) -> Run:
    """Carry a recipe out into a run folder: read captions, ask the three models, write the tables.

    What the ledger knows is not asked again, so the same call goes on where an earlier one was stopped.

    Args:
        recipe: what to do.
        out: the run folder; made if it is not there.
        limit: take only this many captions, from the start of the source.
        until: stop after this stage.
        means: what may be spent. When it is, no new call is made, and the tables hold what there is.
        watcher: is told how it goes.
        only: take only the images of one partition; of all of them, if `limit` says so, only the first.

    Raises:
        UserError: the recipe, the source or the folder cannot be used.
        ModelError: a model refuses everything, or has gone.
        StoreError: the disk failed.
        Interrupted: Ctrl-C; the tables hold the images that had come through.
    """
    recipe.check_models(until)
    if means and means != Means() and recipe.run.schedule == "phased" and not recipe.run.round:
        raise UserError(
            'a limit would be reached before the first image is through: with run.schedule = "phased" all of them '
            "pass one stage before the next begins. Take them in rounds, such as --set run.round=200"
        )
    there = Path(out).exists()
    with ExitStack() as stack:
        stack.enter_context(held(Run.folder(out)))
        with _or_nothing(Path(out), keep=there):
            run = Run.create(out, recipe)
            if recipe.questions:
                captions, drops = own.take_in(run, limit, captions_needed=until == "think_harder", only=only)
            else:
                captions, drops = _take_in(run, limit, only)
        ledger = stack.enter_context(Ledger(run.ledger_path, str(run.path)))
        fingerprint = resume.fingerprint(recipe, until)
        before = Finished.open(run, fingerprint, ledger.holds)
        if before:
            stack.enter_context(before)
        way = _Journey(run, captions, drops, until, fingerprint, before, Purse(means or Means()), watcher)
        with contextlib.suppress(KeyboardInterrupt):
            if not _nothing_to_do(way):
                asyncio.run(_travel(way, ledger))
            return run
    raise Interrupted("stopped at once; what was answered is kept")


@contextlib.contextmanager
def _or_nothing(folder: Path, *, keep: bool) -> Iterator[None]:
    """Leave nothing behind of a run that could not begin: mostly, its source is not where the recipe says."""
    new = {entry.name for entry in folder.iterdir()} <= {".lock"}
    try:
        yield
    except UserError:
        if new:
            for entry in folder.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            if not keep:
                folder.rmdir()
        raise


def _take_in(run: Run, limit: int | None, only: Sieve | None) -> tuple[int, list[Drop]]:
    """Read the source into the captions table, ordered by image hash; the number of captions, and the drops."""
    recipe = run.recipe
    drops: list[Drop] = []

    def kept(known: Known) -> Iterator[Caption]:
        for item in read_captions(
            recipe.captions,
            base=run.path,
            run_images=run.images,
            seed=recipe.seed,
            validation=recipe.curate.validation,
            limit=limit,
            known=known,
        ):
            if only and not only.keeps(item):
                continue
            if isinstance(item, Drop):
                drops.append(item)
            else:
                yield item

    with Known(run.path / "intake.sqlite") as known, run.writing() as tables:
        captions = tables.open("captions", Caption, sort=("image", "id"))
        captions.write(kept(known))
    drops.sort(key=lambda drop: drop.id)
    return captions.rows, drops


class _Journey(NamedTuple):
    """What a run sets out with."""

    run: Run
    images: int
    drops: list[Drop]
    """What was not taken in."""
    until: Until
    fingerprint: str
    before: Finished | None
    """What need not be done again."""
    purse: Purse
    watcher: Watcher | None

    def begin(self, models: dict[str, Traffic]) -> None:
        """Tell the watcher that it begins."""
        if self.watcher:
            self.watcher.begin(self.images, models)
            for drop in self.drops:
                self.watcher.tell(drop.stage, 0, 1)

    @property
    def desk(self) -> own.Desk | None:
        """A new desk, where there are questions of the user's own."""
        return own.Desk(self.run) if self.run.recipe.questions else None


def _nothing_to_do(way: _Journey) -> bool:
    """Whether an earlier run has done it all; then the tables stay, and no server is needed."""
    span = resume.all_finished(way.run, way.before, way.desk) if way.before else None
    if not (way.before and span):
        return False
    way.begin({name: Traffic() for name in way.run.recipe.models})
    resume.take_over_all(way.run, way.before, span, way.drops, way.watcher)
    State(True, way.images, way.images, way.until).save(way.run)
    return True


async def _travel(way: _Journey, ledger: Ledger) -> None:
    run, recipe, watcher = way.run, way.run.recipe, way.watcher
    think = recipe.think
    assert think, "check_models has seen to it"
    stop = asyncio.Event()
    with stopping_at_ctrl_c(stop, watcher), Journal(run) as journal:
        async with Fleet(
            recipe.models, run.path / "logs", stop, **({"say": watcher.say} if watcher else {})
        ) as fleet:
            steps = phases(recipe, way.until)
            models = {
                name: Recorded(
                    way.purse.pays(fleet[name], name, settings.price), settings, ledger, stop, once=len(steps) > 1
                )
                for name, settings in recipe.models.items()
            }
            way.begin({name: model.traffic for name, model in models.items()})
            desk = way.desk
            captions = desk.captions() if desk else run.captions()

            def travel(phase: Phase, tell: Callable[[Stage, int, int], None]) -> Travel:
                brought = None if desk is None else desk.of if phase is steps[-1] else desk.waiting
                return Travel(
                    dict[str, Model](models),
                    recipe.ask,
                    think,
                    recipe.think_harder,
                    own=Own(recipe.questions, brought) if recipe.questions and brought else None,
                    budget=recipe.budget,
                    seed=recipe.seed,
                    until=phase.until,
                    prepare=preparer(run),
                    tell=tell,
                )

            async def enter(phase: Phase) -> None:
                for model in models.values():
                    model.over = frozenset(stage for step in steps[: steps.index(phase)] for stage in step.stages)
                await fleet.only(phase.models)

            schedule = Schedule(steps, travel, enter=enter, purse=way.purse, settings=recipe.run, listener=watcher)
            stopped: Interrupted | ModelError | StoreError | None = None
            with ExitStack() as stack:
                arrivals = resume.Arrivals(stack, run, captions, journal, way.before, desk=desk, teller=watcher)
                arrivals.drops(way.drops)
                try:
                    # Calls end before the fleet that they go to.
                    async with contextlib.aclosing(schedule.trips(arrivals.travellers())) as trips:
                        async for trip in trips:
                            arrivals.trip(trip)
                            if watcher:
                                watcher.arrived()
                except (Interrupted, ModelError, StoreError) as error:
                    if arrivals.broken or (not arrivals.travelled and not isinstance(error, Interrupted)):
                        raise  # older tables are worth more than empty or torn ones
                    stopped = error  # what has arrived is worth a table; raised again below, when it is safe
                arrivals.rest()
            journal.seal(way.fingerprint, ledger.mark())
            complete = stopped is None and not way.purse.empty
            State(complete, arrivals.arrived, way.images, way.until).save(run)
            if isinstance(stopped, Interrupted):
                raise Interrupted(
                    f"stopped after {arrivals.arrived} of {way.images} images; what was answered is kept"
                )
            if stopped:
                raise stopped


class preparer:  # noqa: N801 (used as a function)
    """Encodes an image once for all the requests that show it, in a thread, two at a time."""

    def __init__(self, run: Run) -> None:
        self._images = run.images
        self._intake = run.path / "intake.sqlite"
        self._settings = run.recipe.captions
        self._hands = asyncio.Semaphore(2)

    async def __call__(self, caption: Caption) -> Image | Drop:
        """The image of a caption, ready to be sent; a drop where its file has gone, or is another by now."""
        path = self._images / caption.path
        async with self._hands:
            try:
                return await asyncio.to_thread(prepare, path, caption.image, self._settings, exact=True)
            except ImageChanged:
                await asyncio.to_thread(forget, self._intake, path)
                return Drop.make("ask", caption.id, caption.image, "image-changed", caption.path)
            except (OSError, ValueError):
                # It could be read when the captions were taken in.
                return Drop.make("ask", caption.id, caption.image, "image-gone", caption.path)


@contextlib.contextmanager
def stopping_at_ctrl_c(stop: asyncio.Event, watcher: _Stopping | None) -> Iterator[None]:
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
