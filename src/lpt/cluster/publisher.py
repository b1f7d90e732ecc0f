"""Publishes what was answered while a partition is worked on, and says how far it is."""

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal

import msgspec

from lpt.cluster.published import TICK, Claim, Progress, Published
from lpt.errors import LptError, RunError, StoreError
from lpt.models.recorded import Traffic
from lpt.partition import Sieve
from lpt.pipeline import Watcher
from lpt.records import Stage
from lpt.store.pieces import Mark, cut


class Tally:
    """A `Watcher` that counts, and passes on what it is told."""

    def __init__(self, sieve: Sieve, inner: Watcher | None) -> None:
        self._sieve = sieve
        self._inner = inner
        self._of: int | None = None
        self._images = 0
        self._kept: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._traffic: dict[str, Traffic] = {}

    def begin(self, images: int, models: dict[str, Traffic]) -> None:
        """The captions are read."""
        self._of = images
        self._traffic = models
        self._kept["captions"] = images
        if self._inner:
            self._inner.begin(images, models)

    def tell(self, stage: Stage, kept: int, dropped: int) -> None:
        """Something came through a stage, or did not."""
        self._kept[stage] += kept
        self._dropped[stage] += dropped
        if self._inner:
            self._inner.tell(stage, kept, dropped)

    def arrived(self) -> None:
        """An image has come all the way."""
        self._images += 1
        if self._inner:
            self._inner.arrived()

    def known(self, images: int) -> None:
        """So many images had come all the way before."""
        self._images += images
        if self._inner:
            self._inner.known(images)

    def stopping(self) -> None:
        """The run was asked to stop."""
        if self._inner:
            self._inner.stopping()

    def say(self, message: str) -> None:
        """Something is to be known while it goes on."""
        if self._inner:
            self._inner.say(message)

    def told(self) -> Progress:
        """How far it is."""
        return Progress(
            state="running",
            who="",
            beat=0,
            images=self._images,
            of=self._of,
            source=self._sieve.captions,
            kept=dict(self._kept),
            dropped=dict(self._dropped),
            traffic={name: msgspec.structs.replace(traffic) for name, traffic in list(self._traffic.items())},
        )


class Publisher:
    """While the context lasts, publishes a piece every so often, and signs of life in between.

    A disk that fails for a while costs nothing: what could not be published is in the next piece. At the end of the
    context the last piece is published, or the context fails.
    """

    def __init__(
        self,
        published: Published,
        claim: Claim,
        ledger: Path,
        *,
        mark: Mark,
        pieces: list[str],
        every: float,
        told: Callable[[], Progress],
        say: Callable[[str], None],
        stop: str = "",
    ) -> None:
        """Begin.

        Args:
            published: where.
            claim: what must still be ours before anything is published.
            ledger: of which.
            mark: how far the pieces that are there have come in it.
            pieces: their names.
            every: seconds between two pieces.
            told: says how far it is.
            say: is told of trouble.
            stop: a file that says, once it is there, that the run is to stop.
        """
        self.pieces = pieces
        """The names of the partition's pieces, in order."""
        self.lost: RunError | None = None
        """Why this attempt is none any more."""
        self._published = published
        self._claim = claim
        self._ledger = ledger
        self._mark = mark
        self._every = every
        self._told = told
        self._say = say
        self._stop = stop
        self._beat = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go, name="publisher", daemon=True)

    def __enter__(self) -> "Publisher":
        self._live("running", "")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self.lost:
            raise self.lost
        try:
            self._publish()
        except LptError:
            if error is None:
                raise
            self._say("what was answered last could not be published, and will be asked for again")

    def _go(self) -> None:
        due = time.monotonic() + self._every
        while not self._over.wait(min(TICK, self._every)):
            try:
                if not self._published.holds(self._claim):
                    self.lost = self.taken_over()
                    os.kill(os.getpid(), signal.SIGTERM)  # ends the run as a person's would
                    return
                if self._stop and self._published.place.read(self._stop) is not None:
                    self._stop = ""
                    os.kill(os.getpid(), signal.SIGTERM)
                if time.monotonic() >= due:
                    due = time.monotonic() + self._every
                    self._publish()
                self._live("running", "")
            except LptError as error:  # noqa: PERF203 (a disk that fails for a while is no end)
                self._say(f"partition {self._published.partition} could not be published for now: {error}")

    def _publish(self) -> None:
        """Publish what was committed since the last piece.

        Raises:
            RunError: the partition was taken over.
            StoreError: the place or the ledger failed.
        """
        if not self._ledger.exists():
            return
        while piece := cut(self._ledger, self._mark):
            if not self._published.holds(self._claim):
                raise self.taken_over()
            number = 1 + max((int(name.partition("-")[0]) for name in self.pieces), default=0)
            name = f"{number:06}-{piece.name}"
            self._published.place.write(f"{self._published.folder}/pieces/{name}", piece.data)
            self.pieces.append(name)
            self._mark = piece.end

    def _live(self, state: Literal["running", "stopped", "failed", "finished"], error: str) -> None:
        self._beat += 1
        progress = msgspec.structs.replace(
            self._told(), state=state, who=self._claim.who, beat=self._beat, error=error
        )
        self._published.write("progress.json", progress)

    def say_state(self, state: Literal["stopped", "failed", "finished"], error: str) -> None:
        """The last sign of life.

        Raises:
            StoreError: the place failed.
        """
        self._live(state, error)

    def taken_over(self) -> RunError:
        """Why this attempt may not go on."""
        claim: Claim | None = None
        with contextlib.suppress(StoreError):
            claim = self._published.claim
        by = f"by {claim.who}" if claim else "from outside"
        return RunError(
            f"partition {self._published.partition} was taken over {by}: it goes on there, and nothing that was "
            "published here is lost"
        )
