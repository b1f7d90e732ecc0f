"""How a run is going, while it goes: a live table in a terminal, a plain line now and then elsewhere.

All of it goes to stderr. Nothing here changes what a run makes.
"""

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lpt.look.safe import safe
from lpt.models.recorded import Traffic
from lpt.records import Stage
from lpt.settings import ModelSettings

_OF_LATE = 600.0
"""Seconds that a pace is taken over, or longer, until"""
_ENOUGH = 256
"""so many images have come in the time: those that set out together come together, in waves of as many as are in
flight (64), and a pace that is taken over one wave is wrong by half."""
_APART = 5.0
"""Seconds between two marks: few enough to remember."""

_MINUTE = 60.0

_STAGES: tuple[Stage, ...] = ("captions", "ask", "think", "think_harder")


def duration(seconds: float) -> str:
    """Seconds as a person says them: 42 s, 3 min 10 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class _Mark(NamedTuple):
    """Where a run stood at a moment."""

    time: float
    images: int
    tokens: int


class Progress:
    """A `Watcher` that shows. Use it as a context around the run."""

    def __init__(
        self,
        console: Console,
        models: dict[str, ModelSettings],
        used_by: Mapping[str, str],
        *,
        stages: Sequence[str] = _STAGES,
        every: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._models = models
        self._used_by = used_by
        self._every = every
        self._clock = clock
        self._stages = stages
        self._kept: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._traffic: dict[str, Traffic] = {}
        self._begun = False
        self._images = 0
        self._arrived = 0
        self._began = clock()
        self._marks = deque([_Mark(self._began, 0, 0)])
        self._live: Live | None = None
        self._speaker: threading.Thread | None = None
        self._over = threading.Event()

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._live = Live(
                console=self._console, get_renderable=self.picture, refresh_per_second=4, transient=True
            )
            self._live.start()
        else:
            self._speaker = threading.Thread(target=self._speak, daemon=True)
            self._speaker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._live:
            self._live.stop()
        if self._speaker:
            self._speaker.join()
        if self._begun:  # a run that could not begin has nothing to tell but why
            self._say()

    def _speak(self) -> None:
        while not self._over.wait(self._pause()):
            self._say()

    def _pause(self) -> float:
        """Seconds to the next line: soon at first, then once a minute, so that the log of a day can be read."""
        return max(self._every, min(_MINUTE, (self._clock() - self._began) / _MINUTE))

    def _say(self) -> None:
        line = self.line() if self._begun else f"getting ready · {duration(self._clock() - self._began)}"
        # Soft: a line stays one line, in a log whose width nobody knows.
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def begin(self, images: int, models: dict[str, Traffic]) -> None:
        """The captions are read: from here on there is a total."""
        self._begun = True
        self._images = images
        self._traffic = models
        self._began = self._clock()
        self._marks = deque([_Mark(self._began, 0, self._tokens())])
        self._kept["captions"] = images

    def tell(self, stage: str, kept: int, dropped: int) -> None:
        """Something came through a stage, or did not."""
        self._kept[stage] += kept
        self._dropped[stage] += dropped

    def arrived(self) -> None:
        """An image has come all the way."""
        self._arrived += 1
        now = self._clock()
        if now - self._marks[-1].time >= _APART:
            self._marks.append(_Mark(now, self._arrived, self._tokens()))
            while len(self._marks) > 2 and self._long_ago(self._marks[1], now):
                self._marks.popleft()

    def _long_ago(self, mark: "_Mark", now: float) -> bool:
        return now - mark.time >= _OF_LATE and self._arrived - mark.images >= _ENOUGH

    def known(self, images: int) -> None:
        """So many images had come all the way before: they say nothing of how long the others take."""
        self._arrived += images
        self._marks = deque(mark._replace(images=mark.images + images) for mark in self._marks)

    def stopping(self) -> None:
        """The run was asked to stop: say what it waits for."""
        out = sum(traffic.in_flight for traffic in self._traffic.values())
        self._console.print(
            f"stopping: no new calls; those that are out (at most {out:,}) are waited for and kept. "
            "Ctrl-C again stops at once.",
            style="yellow",
        )

    def say(self, message: str) -> None:
        """Something is to be known while it goes on: a server is down, and waited for."""
        self._console.print(safe(message), style="yellow", highlight=False, markup=False, soft_wrap=True)

    def _left(self) -> str:
        """What is left, as a person says it."""
        seconds = self._seconds_left()
        return "…" if math.isinf(seconds) else duration(seconds)

    def _seconds_left(self) -> float:
        """What is left, at the pace of late: known replies come at once, and servers slow down."""
        since = self._marks[0]
        came = self._arrived - since.images
        return (self._clock() - since.time) / came * (self._images - self._arrived) if came else math.inf

    def _spent(self) -> float:
        return sum(
            self._models[name].price.of(t.prompt_tokens, t.completion_tokens, t.cached_tokens)
            for name, t in self._traffic.items()
        )

    def _rate(self) -> float:
        """Tokens a second: of late while it goes on, of all of it at the end."""
        over = self._arrived >= self._images
        since = _Mark(self._began, 0, 0) if over else self._marks[0]
        return (self._tokens() - since.tokens) / max(self._clock() - since.time, 1e-9)

    def _tokens(self) -> int:
        return sum(t.completion_tokens for t in self._traffic.values())

    def line(self) -> str:
        """All of it in one line."""
        parts = [f"images {self._arrived}/{self._images}"]
        for stage in self._stages[1:]:
            dropped = f" (-{self._dropped[stage]})" if self._dropped[stage] else ""
            parts.append(f"{stage} {self._kept[stage]}{dropped}")
        recalled = sum(t.recalled for t in self._traffic.values())
        if recalled:
            parts.append(f"{recalled} replies known")
        parts.append(f"{self._rate():,.0f} tokens/s")
        if self._spent():
            parts.append(f"{self._spent():,.2f} spent")
        if self._arrived < self._images:
            parts.append(f"{self._left()} left")
        else:
            parts.append(f"in {duration(self._clock() - self._began)}")
        return " · ".join(parts)

    def picture(self) -> Group:
        """All of it as a small table."""
        table = Table(box=None, pad_edge=False)
        for name, justify in (("stage", "left"), ("done", "right"), ("in flight", "right"), ("dropped", "right")):
            table.add_column(name, justify="right" if justify == "right" else "left")
        for stage in self._stages:
            traffic = self._traffic.get(self._used_by.get(stage, ""))
            dropped = self._dropped[stage]
            table.add_row(
                stage.replace("_", " "),
                f"{self._kept[stage]:,}",
                f"{traffic.in_flight:,}" if traffic else "",
                Text(f"{dropped:,}", style="yellow" if dropped else "dim"),
            )
        done = f"images {self._arrived:,} of {self._images:,}"
        spent = f" · {self._spent():,.2f} spent" if self._spent() else ""
        return Group(
            table, Text(f"{done} · {self._rate():,.0f} tokens/s{spent} · {self._left()} left", style="dim")
        )
