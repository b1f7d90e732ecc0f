"""One partition's work: an ordinary run in a scratch folder, published while it goes on.

What an earlier attempt published, on whatever machine, is taken up before anything is asked.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from lpt import own
from lpt.cluster.place import Place, open_place
from lpt.cluster.published import Claim, Done, Published, essence, partitions
from lpt.cluster.publisher import Publisher, Tally
from lpt.cluster.share import means_of, share
from lpt.errors import Interrupted, LptError, RunError, StoreError
from lpt.models.purse import Means
from lpt.partition import Partition, Sieve
from lpt.pipeline import State, Watcher, synthesize
from lpt.recipe import Recipe
from lpt.store import manifest
from lpt.store.pieces import Mark, is_whole, take_up
from lpt.store.run import Run
from lpt.synthesis.journey import Until

TABLES = ("captions", "questions", "thoughts", "long_thoughts", "drops", own.TABLE)
"""What a partition publishes, where there is such a table."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One partition, to be worked on."""

    recipe: Recipe
    """Of the run, its paths absolute."""
    place: str
    """The run folder: a path, or a URL."""
    index: int
    of: int
    slot: int
    """Which worker this is,"""
    workers: int
    """of so many that work at a time."""
    limit: int | None = None
    until: Until = "think_harder"
    means: Means = Means()
    """Of the whole run."""
    over: bool = False
    """Whoever had it before is known to be dead."""
    stop: str = ""
    """A file of the run folder: once it is there, this is to stop as at Ctrl-C."""

    @property
    def partition(self) -> Partition:
        """The partition."""
        return Partition(self.index, self.of)


def work(job: Job, *, watcher: Watcher | None = None, say: Callable[[str], None] = lambda _: None) -> Done:
    """Work on a partition until it is finished. Running it again goes on, or finds it finished.

    Args:
        job: what to do.
        watcher: is told how it goes.
        say: is told what else a person should know.

    Raises:
        UserError, ModelError, StoreError, Interrupted: as `synthesize`. What was answered is published.
        RunError: somebody else works on it, or has taken it over.
    """
    place = open_place(job.place)
    published = Published(place, job.partition)
    of = partitions(place)
    if of not in (None, job.of):
        raise RunError(
            f"{place} was begun in {of} partitions, and goes on in as many: I/{of}. Choose another --out "
            f"for {job.of}"
        )
    means = means_of(job.partition, job.means)
    what = essence(job.recipe, job.until, job.limit)
    before = published.done
    if before and before.essence == what and before.complete and not before.failed:
        return before
    publish_recipe(place, job.recipe)
    claim = published.take(over=job.over, say=say)
    if means.tokens is not None or means.cost is not None:
        say(f"what the run may spend is divided: partition {job.partition} takes a share of 1/{job.of}")
    with _scratch(job.recipe.cluster.scratch) as scratch:
        return _Work(job, published, claim, scratch / "run", say).do(what, means, watcher)


def publish_recipe(place: Place, recipe: Recipe) -> None:
    """Say what the run is, unless it is said already."""
    text = recipe.toml().encode()
    if place.read("recipe.toml") != text:
        place.write("recipe.toml", text)


@contextlib.contextmanager
def _scratch(folder: str | None) -> Iterator[Path]:
    try:
        made = Path(tempfile.mkdtemp(prefix="lpt-", dir=folder))
    except OSError as error:
        raise StoreError(
            f"no scratch folder can be made in {folder or tempfile.gettempdir()} ({error.strerror}): set "
            "cluster.scratch to a folder on a local disk"
        ) from error
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


class _Work:
    """An attempt at a partition."""

    def __init__(
        self, job: Job, published: Published, claim: Claim, path: Path, say: Callable[[str], None]
    ) -> None:
        self._job = job
        self._published = published
        self._claim = claim
        self._say = say
        self._run = Run.create(path, share(job.recipe, job.slot, job.workers))
        self._sieve = Sieve(job.partition)

    def do(self, what: str, means: Means, watcher: Watcher | None) -> Done:
        """All of it."""
        job = self._job
        mark, pieces = self._take_up()
        tally = Tally(self._sieve, watcher)
        publisher = Publisher(
            self._published,
            self._claim,
            self._run.ledger_path,
            mark=mark,
            pieces=pieces,
            every=job.recipe.cluster.publish,
            told=tally.told,
            say=self._say,
            stop=job.stop,
        )
        state: Literal["stopped", "failed"] = "failed"
        try:
            with publisher:
                run = synthesize(
                    self._run.recipe,
                    self._run.path,
                    limit=job.limit,
                    until=job.until,
                    means=means,
                    watcher=tally,
                    only=self._sieve,
                )
            return self._finish(run, what, publisher)
        except BaseException as error:
            if publisher.lost:
                raise publisher.lost from None
            state = "stopped" if isinstance(error, (Interrupted, KeyboardInterrupt)) else "failed"
            told = str(error) if isinstance(error, LptError) else f"{type(error).__name__}: {error}"
            with contextlib.suppress(StoreError):
                publisher.say_state(state, told)
                self._published.release(self._claim)
            raise

    def _take_up(self) -> tuple[Mark, list[str]]:
        """Fill the ledger with what was answered before; how far that is, and the names of the pieces."""
        place, folder = self._published.place, f"{self._published.folder}/pieces"
        ledger = self._run.ledger_path
        shared = self._job.recipe.ledger
        if shared and Path(shared).exists():
            copy_ledger(Path(shared), ledger)
        names: list[str] = []
        torn: list[str] = []

        def each() -> Iterator[tuple[str, bytes]]:
            for name in self._published.pieces():
                data = place.read(f"{folder}/{name}")
                if data is not None and is_whole(name, data):
                    names.append(name)
                    yield name, data
                else:
                    torn.append(name)

        taken = take_up(ledger, each())
        if taken.replies:
            self._say(f"partition {self._job.partition}: {taken.replies:,} replies of earlier attempts are known")
        if torn:
            self._say(
                f"partition {self._job.partition}: {len(torn)} pieces are torn ({torn[0]}, …): what they held is "
                "asked for again"
            )
        return taken.end, names

    def _finish(self, run: Run, what: str, publisher: Publisher) -> Done:
        """Publish tables and pictures, then the file that makes them count."""
        place, folder = self._published.place, self._published.folder
        state = State.of_run(run)
        assert state, "a run that came to its end has said so"
        entries = manifest.load(run.tables)
        done = Done(
            essence=what,
            until=self._job.until,
            limit=self._job.limit,
            complete=state.complete,
            images=state.images,
            of=state.of,
            failed=run.failed_calls(),
            drops=self._sieve.drops,
            tables={name: entry for name in TABLES if (entry := entries.get(name))},
            pieces=publisher.pieces,
        )
        for name, entry in done.tables.items():
            place.put(f"{folder}/tables/{table_file(name, entry)}", run.table_path(name))
        self._put_images(run)
        if not self._published.holds(self._claim):
            raise publisher.taken_over()
        self._published.write("done.json", done)
        current = {table_file(name, entry) for name, entry in done.tables.items()}
        for old in set(place.names(f"{folder}/tables")) - current:
            place.remove(f"{folder}/tables/{old}")
        publisher.say_state("finished", "")
        self._published.release(self._claim)
        return done

    def _put_images(self, run: Run) -> None:
        if run.images != run.path / "images" or not run.images.is_dir():
            return
        place = self._published.place
        there = set(place.names("images"))
        own_ones = {caption.path for caption in run.captions()}
        stamps = {entry.name for entry in run.images.iterdir() if entry.name.startswith(".") and entry.is_file()}
        for name in sorted((own_ones | stamps) - there):
            with contextlib.suppress(FileNotFoundError):  # one that has gone is a drop of its own
                place.put(f"images/{name}", run.images / name)


def table_file(name: str, entry: manifest.Entry) -> str:
    """The name of a published table."""
    return f"{name}.{entry.blake2b}.parquet"


def copy_ledger(shared: Path, target: Path) -> None:
    """Copy a ledger that several runs share, so that each worker has its own: SQLite is not for network disks.

    Raises:
        RunError: it is in use.
        StoreError: the disk failed.
    """
    log = shared.with_name(f"{shared.name}-wal")
    if log.exists() and log.stat().st_size:
        raise RunError(
            f"the ledger {shared} is in use, or its last user was killed: partitions begin with a copy of it. Wait "
            "for whoever uses it; `lpt check` on a run of it brings home what a killed process left"
        )
    try:
        shutil.copyfile(shared, target)
        if log.exists() and log.stat().st_size:
            raise RunError(f"the ledger {shared} has come into use while it was copied: run the same command again")
    except OSError as error:
        raise StoreError(f"the ledger {shared} could not be copied ({error.strerror}): see to the disk") from error
