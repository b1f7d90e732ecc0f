"""Runs that are killed at random points, and a server that counts what it is asked.

What must hold after each kill, however many there were: no request whose reply was committed is sent again; what is
repeated was in flight, or answered and not committed yet. And at the end the tables, sets and manifest have the
very bytes of a run that nobody disturbed.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from lpt.recipe import Recipe
from lpt.store import manifest
from lpt.store.ledger import Ledger
from tests.conftest import MODELS, simulate, small_recipe

CONCURRENCY = 8
"""Calls in flight at most, of each model."""

Kind = Literal["asked", "time", "compose", "server"]
"""Where a kill falls: after so many requests, after so many seconds, while the sets are made, or on the server."""

Asked = tuple[str, int]
"""A request: its model and its seed, which no two requests of a run share."""


class Broken(AssertionError):
    """A promise that did not hold."""


class Line(msgspec.Struct):
    """What the server says of a request, when it has answered it or its client has gone."""

    model: str
    seed: int | None
    digest: str
    n: int = 1


class Counting:
    """Reads a server's log as it is written: a pipe, so that nobody has to look again and again."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        # Open to be written, too: the pipe does not end when a server does.
        self._file = os.open(path, os.O_RDWR)
        self._lines: list[Line] = []
        self._marks = 0
        self._news = threading.Condition()
        self._decoder = msgspec.json.Decoder(Line)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        held = b""
        while data := os.read(self._file, 1 << 16):
            *whole, held = (held + data).split(b"\n")
            lines = list(map(self._decoder.decode, whole))
            with self._news:
                self._lines += [line for line in lines if line.model]
                self._marks += sum(not line.model for line in lines)
                self._news.notify_all()

    def catch_up(self) -> None:
        """Wait until everything that was written so far has been read."""
        with self._news:
            wanted = self._marks + 1
            os.write(self._file, msgspec.json.encode(Line("", None, "a mark of our own")) + b"\n")
            while self._marks < wanted:
                self._news.wait()

    def count(self) -> int:
        """How many requests there were."""
        with self._news:
            return len(self._lines)

    def since(self, start: int) -> list[Line]:
        """The requests from this one on."""
        with self._news:
            return self._lines[start:]

    def wait(self, count: int, over: Callable[[], bool]) -> None:
        """Wait until there were so many, or it is `over`."""
        with self._news:
            while len(self._lines) < count and not over():
                self._news.wait(0.05)


class Told(msgspec.Struct):
    """What happened."""

    kills: Counter[str] = msgspec.field(default_factory=Counter)
    missed: int = 0
    """Kills that came too late: all was done."""
    requests: int = 0
    repeated: int = 0
    seeds: int = 0

    def add(self, other: "Told") -> None:
        """Sum up."""
        self.kills += other.kills
        self.missed += other.missed
        self.requests += other.requests
        self.repeated += other.repeated
        self.seeds += other.seeds


def committed(run: Path) -> set[Asked]:
    """What the ledger of a killed run knows: opened as the next run opens it."""
    if not (run / "ledger.sqlite").exists():
        return set()
    with Ledger(run / "ledger.sqlite") as ledger:
        rows = ledger._read("SELECT model, seed FROM replies JOIN calls ON calls.id = call")
        return {(model, seed) for model, seed in rows}


def made(run: Path) -> dict[str, bytes]:
    """All that a run has made for its user."""
    return {path.name: path.read_bytes() for path in sorted((run / "tables").iterdir())}


def idle(url: str) -> None:
    """Wait until a server has noticed that its client is gone, and said so."""
    while True:
        with urllib.request.urlopen(f"{url.removesuffix('/v1')}/sim/stats") as reply:
            models = msgspec.json.decode(reply.read())["models"]
        if not any(model["in_flight"] for model in models.values()):
            return
        time.sleep(0.002)


class Trial:
    """One run folder, killed again and again, and finished."""

    def __init__(self, folder: Path, recipe: Recipe, counting: Counting, seed: int) -> None:
        self.told = Told(seeds=1)
        self.run = folder / "run"
        self._recipe = folder / "recipe.toml"
        folder.mkdir(parents=True)
        self._recipe.write_text(recipe.toml())
        self._counting = counting
        self._first = counting.count()
        self._noise = random.Random(seed)
        self._known: set[Asked] = set()
        self._url = recipe.models["asker"].url
        self._launched = not self._url

    @contextlib.contextmanager
    def _started(self, *words: object) -> "Iterator[subprocess.Popen[str]]":
        command = [sys.executable, "-m", "lpt", *map(str, words)]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            yield child
        finally:
            child.kill()
            child.communicate()

    def _words(self, kind: Kind) -> list[object]:
        return ["compose", self.run] if kind == "compose" else ["run", self._recipe, "--out", self.run]

    def kill(self, kind: Kind, requests: int, seconds: float) -> None:
        """Start it and kill it.

        Args:
            kind: where.
            requests: how many an undisturbed run makes.
            seconds: how long a run takes for which all is known.
        """
        start = self._counting.count()
        done = start - self._first
        with self._started(*self._words(kind)) as child:
            if kind in ("asked", "server"):
                point = start + self._noise.randrange(1, max(requests - done, 2))
                self._counting.wait(point, lambda: child.poll() is not None)
            else:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(self._noise.uniform(0.2, 1.1) * seconds)
            if child.poll() is not None and kind != "compose":
                self.told.missed += 1
            servers = _servers(child.pid) if self._launched else []
            if kind == "server":
                for server in servers[:1]:
                    os.kill(server, signal.SIGKILL)
                _, talk = child.communicate(timeout=120)
                if child.returncode not in (0, 3) or "Traceback" in talk:
                    raise Broken(f"a run whose server was killed ended with {child.returncode}: {talk}")
            child.kill()
            child.wait()
            for server in servers:
                _until_gone(server)
        self.told.kills[kind] += 1
        self._check(start)

    def _check(self, start: int) -> None:
        """Nothing of what was committed before was asked for; then, what is committed now."""
        if not self._launched:
            idle(str(self._url))
        self._counting.catch_up()
        now = committed(self.run)
        wrong = manifest.examine(self.run / "tables")
        if wrong:
            raise Broken(f"tables are not what was written: {wrong}")
        times = Counter(line.digest for line in self._counting.since(self._first))
        self.told.requests = times.total()
        self.told.repeated = sum(count - 1 for count in times.values())
        # Twice: a reply that waits to be committed has made room for another call.
        if self.told.repeated > 2 * self.told.kills.total() * CONCURRENCY * len(MODELS):
            raise Broken(f"{self.told.repeated} requests were repeated: more than there were in flight")
        asked = [(line.model, line.seed) for line in self._counting.since(start)]
        twice = sorted({request for request in asked if request in self._known})
        if twice:
            raise Broken(f"committed, and asked for again: {twice[:5]} … {len(twice)} in all")
        if not self._known <= now:
            raise Broken(f"committed, and gone: {len(self._known - now)} replies")
        self._known = now

    def finish(self, whole: dict[str, bytes]) -> Told:
        """Run it to its end, and compare."""
        start = self._counting.count()
        with self._started(*self._words("asked")) as child:
            _, talk = child.communicate(timeout=300)
            if child.returncode:
                raise Broken(f"running again ended with {child.returncode}: {talk}")
        self._check(start)
        found = made(self.run)
        different = {name for name in found.keys() | whole.keys() if found.get(name) != whole.get(name)}
        if different:
            raise Broken(f"not as in an undisturbed run: {', '.join(sorted(different))}")
        return self.told


def _servers(process: int) -> list[int]:
    """The servers that a run has launched: the children of its keepers."""
    return [server for keeper in _children(process) for server in _children(keeper)]


def _children(process: int) -> list[int]:
    found: list[int] = []
    for place in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, place.read_text().split())
    return found


def _until_gone(process: int) -> None:
    """Wait for a process to end.

    Raises:
        Broken: it outlives the run that launched it.
    """
    for _ in range(6000):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.01)
    raise Broken(f"the launched server {process} is there a minute after its run was killed")


class Killing:
    """A server that counts, and the undisturbed run that all others are compared with."""

    def __init__(self, folder: Path, url: str, counting: Counting, *, scenes: int) -> None:
        narrow = [f"models.{name}.concurrency={CONCURRENCY}" for name in MODELS]
        self._folder = folder
        self._counting = counting
        self.recipe = small_recipe(url, *narrow, scenes=scenes)
        log = f"lpt sim --port {{port}} --dial latency=0.004 --dial log_requests={folder / 'log'}"
        launched = {
            name: msgspec.structs.replace(model, url=None, launch=log) for name, model in self.recipe.models.items()
        }
        self.launching = msgspec.structs.replace(self.recipe, models=launched)
        whole = Trial(folder / "whole", self.recipe, counting, 0)
        self._whole: dict[str, bytes] = {}
        with contextlib.suppress(Broken):
            whole.finish({})
        self._whole = made(whole.run)
        self.requests = counting.count()
        began = time.monotonic()
        whole.finish(self._whole)
        self.seconds = time.monotonic() - began

    def trial(self, seed: int, kinds: list[Kind]) -> Told:
        """One seed: a new run, killed once for each of these, and finished."""
        recipe = self.launching if "server" in kinds else self.recipe
        trial = Trial(self._folder / f"seed-{seed}", recipe, self._counting, seed)
        for kind in kinds:
            trial.kill(kind, self.requests, self.seconds)
        return trial.finish(self._whole)


@contextlib.contextmanager
def killing(folder: Path, *, scenes: int = 2) -> Iterator[Killing]:
    """A server and an undisturbed run, for trials."""
    counting = Counting(folder / "log")
    with simulate(folder / "log", "--dial", "latency=0.004") as server:
        yield Killing(folder, server.url, counting, scenes=scenes)
