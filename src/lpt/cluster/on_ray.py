"""Partitions on Ray: handed to workers, and to others when a worker or its machine dies.

This process asks nothing of a model. It looks after the queue, sums up what workers say in the run folder, and at
the end everything that counts is there, whether or not this process lived to see it.
"""

import contextlib
import logging
import math
import os
import secrets
import sys
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from lpt import errors
from lpt.cluster.place import Place, open_place
from lpt.cluster.published import Done, Progress, Published, partitions
from lpt.cluster.worker import Job, work
from lpt.errors import Interrupted, LptError, ModelError, StoreError, Unavailable, UserError
from lpt.models.purse import Means
from lpt.models.recorded import Traffic
from lpt.partition import MOST, Partition
from lpt.pipeline import Silent, Watcher
from lpt.recipe import Recipe
from lpt.settings import ClusterSettings
from lpt.synthesis.journey import Until

ATTEMPTS = 4
"""How often a partition is begun before the run gives it up: a picture or reply may kill whoever works on it."""
_POLL_SECONDS = 1.0
_STOP_SECONDS = 120.0
"""How long calls that are out are waited for, after Ctrl-C."""
_ROOM_SECONDS = 30.0
"""How long nothing may happen before it is said why."""
_OBJECTS = 80 << 20
"""Bytes of Ray's own store, where it is started here: nothing of size goes through it."""


class Outcome(msgspec.Struct, frozen=True):
    """What came of one attempt at a partition. Errors travel as words: not every one of ours can be pickled."""

    done: Done | None = None
    error: str = ""
    what: str = ""
    """The error's class,"""
    kind: str = ""
    """and, of a model's, its kind."""
    said: list[str] = []

    def exception(self) -> LptError:
        """The error as it was."""
        kind: type[LptError] = getattr(errors, self.what, LptError)
        if issubclass(kind, ModelError):
            return kind(self.error, kind=self.kind)
        return kind(self.error)


class Worker:
    """Works on one partition after another, on whatever machine Ray puts it."""

    def ready(self) -> bool:
        """That it is there."""
        return True

    def work(self, job: bytes) -> bytes:
        """Work on a partition; its outcome."""
        said: list[str] = []
        try:
            done = work(msgspec.msgpack.decode(job, type=Job), watcher=_Listener(said), say=said.append)
            outcome = Outcome(done=done, said=said)
        except LptError as error:
            kind = error.kind if isinstance(error, ModelError) else ""
            outcome = Outcome(error=str(error), what=type(error).__name__, kind=kind, said=said)
        return msgspec.msgpack.encode(outcome)


class _Listener(Silent):
    """Keeps what is said, and leaves the counting to others."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    def say(self, message: str) -> None:
        """Keep it."""
        self._said.append(message)


def run_on_ray(
    recipe: Recipe,
    out: str | Path,
    *,
    limit: int | None = None,
    until: Until = "think_harder",
    means: Means | None = None,
    watcher: Watcher | None = None,
) -> None:
    """Work on all partitions of a run, on a Ray cluster. `gather` makes one run of them.

    Args:
        recipe: of the run; `cluster` says where and with how many workers.
        out: the run folder: a path that all machines see, or a URL.
        limit: take only this many captions, from the start of the source.
        until: stop after this stage.
        means: what may be spent, all partitions together.
        watcher: is told how it goes.

    Raises:
        UserError: Ray is not there, or the recipe, the source or the folder cannot be used.
        ModelError, StoreError: a partition failed on as many machines as it was tried on.
        Interrupted: Ctrl-C; what was answered is published.
    """
    ray = _ray()
    place = open_place(out if "://" in str(out) else Path(out).resolve())
    with _cluster(ray, recipe.cluster):
        workers = recipe.cluster.workers or _room(ray, recipe.cluster)
        of = partitions(place) or recipe.cluster.partitions or workers
        if of > MOST:
            raise UserError(f"cluster.partitions is {of}; a run has at most {MOST}")
        job = Job(
            recipe=recipe,
            place=str(place),
            index=0,
            of=recipe.cluster.partitions or of,  # of another number than was begun: the first worker tells
            slot=0,
            workers=min(workers, of),
            limit=limit,
            until=until,
            means=means or Means(),
            stop=f"partitions/stop-{secrets.token_hex(6)}",
        )
        _Driver(ray, place, job, watcher).run()


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise UserError("--on ray needs Ray: pip install 'long-perceptual-thoughts[ray]'") from error
    return ray


@contextlib.contextmanager
def _cluster(ray: Any, settings: ClusterSettings) -> Iterator[None]:
    """A connection to the cluster; where there is none, one of this machine alone, which is ended with the run."""
    address = settings.address or os.environ.get("RAY_ADDRESS")
    given: dict[str, Any] = {"address": address}
    if not address:
        cpus = max(os.cpu_count() or 1, math.ceil(settings.workers * settings.cpus))
        given = {"address": "local", "num_cpus": cpus, "object_store_memory": _OBJECTS, "include_dashboard": False}
    try:
        ray.init(**given, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"the Ray cluster at {address} cannot be reached" if address else "Ray could not be started"
        raise UserError(f"{where}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _room(ray: Any, settings: ClusterSettings) -> int:
    """How many workers the cluster has room for.

    Raises:
        UserError: not one.
    """
    there = ray.cluster_resources()
    room = int(there.get("CPU", 0) / settings.cpus)
    if settings.gpus:
        room = min(room, int(there.get("GPU", 0) / settings.gpus))
    if room < 1:
        raise UserError(
            f"the cluster has {there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs, and a worker wants "
            f"{settings.cpus:g} and {settings.gpus:g}: see cluster.cpus and cluster.gpus"
        )
    return room


class _Out(NamedTuple):
    """What a worker is about."""

    slot: int
    actor: Any
    partition: Partition | None
    """None while it is being started."""


class _Driver:
    """Keeps workers busy until no partition is left."""

    def __init__(self, ray: Any, place: Place, job: Job, watcher: Watcher | None) -> None:
        self._ray = ray
        self._place = place
        self._job = job
        self._queue = deque(Partition.all(job.of))
        self._out: dict[Any, _Out] = {}
        self._begun: Counter[Partition] = Counter()
        self._over: set[Partition] = set()
        self._failed: LptError | None = None
        self._sum = _Sum(watcher)
        settings = job.recipe.cluster
        self._kind = ray.remote(num_cpus=settings.cpus, num_gpus=settings.gpus, max_restarts=0)(Worker)

    def run(self) -> None:
        """All of it."""
        try:
            for slot in range(self._job.workers):
                self._start(slot)
            self._go()
        except KeyboardInterrupt:
            self._stop()
        finally:
            for out in self._out.values():
                with contextlib.suppress(Exception):
                    self._ray.kill(out.actor)
            with contextlib.suppress(StoreError):
                self._place.remove(self._job.stop)
        if self._failed:
            raise self._failed

    def _go(self) -> None:
        waited = 0.0
        while any(out.partition for out in self._out.values()) or (self._queue and not self._failed):
            if not self._out:
                raise Unavailable("no worker could be started on the Ray cluster", kind="cluster")
            ready, _ = self._ray.wait(list(self._out), timeout=_POLL_SECONDS)
            for ref in ready:
                self._came(ref, self._out.pop(ref))
            self._look()
            waited = 0.0 if ready or any(out.partition for out in self._out.values()) else waited + _POLL_SECONDS
            if waited == _ROOM_SECONDS:
                self._sum.say(
                    "the cluster has no room for a worker now (cluster.cpus, cluster.gpus): waiting for it"
                )

    def _start(self, slot: int) -> None:
        actor = self._kind.remote()
        self._out[actor.ready.remote()] = _Out(slot, actor, None)

    def _came(self, ref: Any, out: _Out) -> None:
        """A worker is ready, has come to the end of its partition, or has died."""
        exceptions = self._ray.exceptions
        try:
            told = self._ray.get(ref)
        except exceptions.RayTaskError as error:  # none of our errors: a bug, and told as one
            raise RuntimeError(f"partition {out.partition} met an error that is none of ours") from error
        except exceptions.RayError as error:
            self._died(out, error)
            return
        if out.partition:
            self._told(out.partition, msgspec.msgpack.decode(told, type=Outcome))
        if self._queue and not self._failed:
            self._hand(out)
        else:
            self._ray.kill(out.actor)

    def _hand(self, out: _Out) -> None:
        partition = self._queue.popleft()
        self._begun[partition] += 1
        job = msgspec.structs.replace(self._job, index=partition.index, slot=out.slot, over=partition in self._over)
        ref = out.actor.work.remote(msgspec.msgpack.encode(job))
        self._out[ref] = _Out(out.slot, out.actor, partition)

    def _told(self, partition: Partition, outcome: Outcome) -> None:
        for message in outcome.said:
            self._sum.say(message)
        if outcome.done:
            self._hear(partition)
            return
        error = outcome.exception()
        if isinstance(error, (UserError, Interrupted)):
            self._failed = self._failed or error
        else:
            self._again(partition, f"failed: {error}", error)

    def _died(self, out: _Out, error: Exception) -> None:
        with contextlib.suppress(Exception):
            self._ray.kill(out.actor)
        if out.partition:
            self._over.add(out.partition)
            why = f"lost its worker ({type(error).__name__})"
            told = f"partition {out.partition} lost its worker {ATTEMPTS} times; the last time: {error}"
            self._again(out.partition, why, Unavailable(told, kind="worker"))
        if self._queue and not self._failed:
            self._start(out.slot)

    def _again(self, partition: Partition, why: str, error: LptError) -> None:
        if self._begun[partition] >= ATTEMPTS:
            self._failed = self._failed or error
            return
        self._sum.say(
            f"partition {partition} {why}; it goes to another worker, which goes on from what was published"
        )
        self._queue.appendleft(partition)

    def _look(self) -> None:
        for out in self._out.values():
            if out.partition:
                self._hear(out.partition)
        self._sum.tell()

    def _hear(self, partition: Partition) -> None:
        with contextlib.suppress(StoreError):  # a look; what counts is read when it is needed
            self._sum.heard(partition, Published(self._place, partition).progress)

    def _stop(self) -> None:
        """Let calls that are out come home, and what they brought be published."""
        self._sum.stopping()
        with contextlib.suppress(KeyboardInterrupt):
            self._place.write(self._job.stop, b"")
            waiting = [ref for ref, out in self._out.items() if out.partition]
            self._ray.wait(waiting, num_returns=len(waiting), timeout=_STOP_SECONDS) if waiting else None
        raise Interrupted("stopped; what was answered is published")


class _Sum:
    """What all partitions say, told to one watcher as if it were one run."""

    def __init__(self, watcher: Watcher | None) -> None:
        self._watcher = watcher
        self._heard: dict[Partition, Progress] = {}
        self._traffic: dict[str, Traffic] = {}
        self._kept: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._arrived = 0
        self._begun = False

    def heard(self, partition: Partition, progress: Progress | None) -> None:
        """How far a partition is."""
        if progress and progress.of is not None:
            self._heard[partition] = progress

    def tell(self) -> None:
        """Tell what has changed."""
        watcher, heard = self._watcher, self._heard.values()
        if not watcher or not heard:
            return
        for name in sorted({name for one in heard for name in one.traffic}):
            total = self._traffic.setdefault(name, Traffic())
            for field in Traffic.__struct_fields__:
                setattr(total, field, sum(getattr(one.traffic.get(name, Traffic()), field) for one in heard))
        if not self._begun:
            self._begun = True
            watcher.begin(max(one.source for one in heard), self._traffic)
        for stages, told in (
            ([one.kept for one in heard], self._kept),
            ([one.dropped for one in heard], self._dropped),
        ):
            now: Counter[str] = Counter()
            for one in stages:
                now.update(one)
            now.pop("captions", None)  # said at the beginning
            for stage in now:
                change = now[stage] - told[stage]
                if change:
                    kept, dropped = (change, 0) if told is self._kept else (0, change)
                    watcher.tell(stage, kept, dropped)  # type: ignore[arg-type]
            told.clear()
            told.update(now)
        arrived = sum(one.images for one in heard)
        for _ in range(arrived - self._arrived):
            watcher.arrived()
        self._arrived = max(arrived, self._arrived)

    def say(self, message: str) -> None:
        """Pass a message on."""
        if self._watcher:
            self._watcher.say(message)
        else:
            print(message, file=sys.stderr)  # noqa: T201 (nobody else would hear it)

    def stopping(self) -> None:
        """The run was asked to stop."""
        if self._watcher:
            self._watcher.stopping()
