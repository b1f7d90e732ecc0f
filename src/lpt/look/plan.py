"""What a whole run will take, told from a pilot of a few images, before anything large is spent."""

import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lpt.captions import csv_, jsonl
from lpt.captions.base import at
from lpt.captions.intake import SOURCES
from lpt.captions.scenes import DEFAULT_COUNT, RENDERED
from lpt.errors import UserError
from lpt.look.progress import duration
from lpt.look.safe import safe
from lpt.look.spending import Prices
from lpt.recipe import Recipe
from lpt.settings import Price, QuestionSettings
from lpt.store.reading import CallRow, LedgerReader, Spent
from lpt.store.run import Run

_T90 = (6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83)
"""Student's t for a 90% interval, by the degrees of freedom, from 1; 1.7 beyond."""
_REPLIES = ("questions", "thoughts", "long_thoughts")
_PLACES = 64
"""Requests at once that are reckoned with where a recipe leaves them to be found out."""
_FIGURES = ("calls", "prompt_tokens", "cached_tokens", "completion_tokens", "money")


class Figures(msgspec.Struct, kw_only=True):
    """What is spent."""

    calls: float = 0.0
    prompt_tokens: float = 0.0
    cached_tokens: float = 0.0
    completion_tokens: float = 0.0
    money: float = 0.0

    def add(self, other: "Figures", times: float = 1.0) -> None:
        """Put so many times another's on top."""
        for name in _FIGURES:
            setattr(self, name, getattr(self, name) + times * getattr(other, name))


class Line(msgspec.Struct, kw_only=True):
    """What one stage will ask of one model."""

    stage: str
    model: str
    estimate: Figures


class Plan(msgspec.Struct, kw_only=True):
    """The estimate for a whole source."""

    rows: int
    """Rows of the source."""
    pilot_rows: int
    pilot_images: int
    """Those of the rows that are images with a caption."""
    pilot: Figures
    """What the pilot itself spent, or had spent before."""
    lines: list[Line]
    total: Figures
    low: Figures | None
    """90 times in 100 it is between this and `high`, if the images are like the pilot's; None from one image."""
    high: Figures | None
    made: dict[str, float]
    """Records that will be made."""
    seconds_full: float
    """At the pilot's time for a call, with as many calls at once as the recipe allows."""
    seconds_pilot: float | None
    """At the pilot's pace, a few images at once; None where its calls were made at several times."""
    exact: bool
    """Every call of the pilot is counted; else those whose replies stand in its tables."""


def count_rows(recipe: Recipe, base: Path) -> int | None:
    """Count the rows of a recipe's source without decoding an image; None where that means downloading it.

    Raises:
        SourceError: the source cannot be read.
    """
    place = recipe.questions or recipe.captions
    most = place.count
    source = place.source
    if source in RENDERED:
        return most or DEFAULT_COUNT
    found: int | None = None
    if source == "parquet" and place.path is not None:
        path = at(base, place.path)
        shards = [p for p in path.rglob("*.parquet") if not p.name.startswith(".")] if path.is_dir() else [path]
        try:
            found = sum(pq.read_metadata(shard).num_rows for shard in shards)
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be counted: {error}. Say how many rows it has: --of N") from error
    elif isinstance(place, QuestionSettings):
        found = sum(1 for _ in _question_rows(place, base)) if source in ("jsonl", "csv") else None
    elif source in SOURCES and source != "hub":
        found = sum(1 for _ in SOURCES[source](recipe.captions, base))
    return found if found is None or most is None else min(found, most)


def _question_rows(place: QuestionSettings, base: Path) -> Iterator[object]:
    path = jsonl.list_of(place, base)
    if place.source == "csv":
        return iter(csv_.records(path, (place.columns.image,), "questions"))
    return iter(jsonl.lines(path))


def plan(run: Run, rows: int, pilot_rows: int, *, exact: bool) -> Plan:
    """Estimate a whole source from a run of its first rows.

    Args:
        run: the pilot, done.
        rows: how many rows there are in all.
        pilot_rows: how many of them the pilot took.
        exact: the ledger was empty before: then all that it holds is the pilot's.
    """
    prices = Prices(run.recipe)
    calls = dict(_calls(run))
    images: dict[str, Figures] = {image: Figures() for image in run.table("captions").collect()["id"]}
    for caption, call in calls.values():
        images[caption].add(_of_call(call, prices))
    with LedgerReader(run.ledger_path) as ledger:
        spent = ledger.spent() if exact else ledger.spent(_keys(run))
    times = rows / pilot_rows
    lines = [Line(stage=s.stage, model=s.model, estimate=_of_spent(s, prices)) for s in spent]
    pilot, total = Figures(), Figures()
    for line in lines:
        pilot.add(line.estimate)
        scaled = Figures()
        scaled.add(line.estimate, times)
        line.estimate = scaled
        total.add(scaled)
    low, high = _spread(list(images.values()), pilot, total, times)
    made = {name: run.table(name).collect().height * times for name in _REPLIES}
    full, paced = _time(run, spent, [call for _, call in calls.values()], times, exact=exact)
    return Plan(
        rows=rows,
        pilot_rows=pilot_rows,
        pilot_images=len(images),
        pilot=pilot,
        lines=lines,
        total=total,
        low=low,
        high=high,
        made=made,
        seconds_full=full,
        seconds_pilot=paced,
        exact=exact,
    )


def _keys(run: Run) -> Iterator[str]:
    for name in _REPLIES:
        yield from run.replies(name).collect()["reply"]


def _calls(run: Run) -> Iterator[tuple[int, tuple[str, CallRow]]]:
    """The calls whose replies the tables hold, by their ids, each with its caption."""
    questions = run.table("questions").select("id", "caption").collect()
    caption_of = dict(zip(questions["id"], questions["caption"], strict=True))
    with LedgerReader(run.ledger_path) as ledger:
        for name in _REPLIES:
            for question, key in run.replies(name).collect().iter_rows():
                found = ledger.lookup(key)
                if found:
                    yield found[1].id, (caption_of[question], found[1])


def _of_call(call: CallRow, prices: Prices) -> Figures:
    usage = call.usage
    tokens = (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
    return _figures(1, tokens, prices(call.stage, call.model))


def _of_spent(spent: Spent, prices: Prices) -> Figures:
    tokens = (spent.prompt_tokens, spent.completion_tokens, spent.cached_tokens)
    return _figures(spent.calls, tokens, prices(spent.stage, spent.model))


def _figures(calls: int, tokens: tuple[int, int, int], price: Price) -> Figures:
    prompt, completion, cached = tokens
    return Figures(
        calls=calls,
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=cached,
        money=price.of(prompt, completion, cached),
    )


def _spread(
    images: list[Figures], pilot: Figures, total: Figures, times: float
) -> tuple[Figures | None, Figures | None]:
    """A 90% interval for the total, from how much the pilot's images differ. What it has spent is certain."""
    n = len(images)
    if n < 2:
        return None, None
    rest = n * (times - 1)  # images that are still to come
    t = _T90[n - 2] if n - 2 < len(_T90) else 1.7
    low, high = Figures(), Figures()
    for name in _FIGURES:
        values = [getattr(image, name) for image in images]
        mean = sum(values) / n
        deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
        # The mean of n is uncertain, and so is the sum of those to come.
        half = t * deviation * math.sqrt(rest * rest / n + rest) if rest > 0 else 0.0
        middle, least = getattr(total, name), getattr(pilot, name)
        setattr(low, name, max(middle - half, min(least, middle)))
        setattr(high, name, middle + half)
    return low, high


def _time(
    run: Run, spent: list[Spent], calls: list[CallRow], times: float, *, exact: bool
) -> tuple[float, float | None]:
    """Seconds for all: with every place of the busiest model taken, and at the pilot's pace."""
    busy: defaultdict[str, float] = defaultdict(float)
    for part in spent:
        busy[part.model] += part.seconds
    models = run.recipe.models.values()
    places = {m.model: _PLACES if m.concurrency == "auto" else m.concurrency for m in models}
    longest = max((call.seconds for call in calls), default=0.0)
    full = max((seconds * times / places.get(name, 1) for name, seconds in busy.items()), default=0.0)
    if not exact or not calls:
        return max(full, longest), None
    began = min(call.started for call in calls)
    took = max(call.started + call.seconds for call in calls) - began
    return max(full, longest), max(took * times, full)


def print_plan(made: Plan, console: Console) -> None:
    """Print the estimate."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("stage")
    table.add_column("model", overflow="fold")
    for name in ("calls", "prompt", "cached", "completion", "money"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in made.lines:
        table.add_row(line.stage, Text(safe(line.model)), *_cells(line.estimate))
    table.add_section()
    table.add_row("all", "", *_cells(made.total))
    if made.low and made.high:
        table.add_row("at least", "", *_cells(made.low), style="dim")
        table.add_row("at most", "", *_cells(made.high), style="dim")
    console.print(
        f"For {made.rows:,} rows, from a pilot of {made.pilot_rows:,} ({made.pilot_images:,} captioned images):",
        highlight=False,
    )
    console.print(table)
    names = ", ".join(f"{number:,.0f} {name.replace('_', ' ')}" for name, number in made.made.items())
    console.print(f"That makes about {names}, before filters.", highlight=False)
    console.print(_time_told(made), highlight=False)
    if made.low is None:
        console.print("One image tells nothing of how much they differ: --images 3 or more gives a range.")
    elif made.rows > made.pilot_rows:
        console.print("The range holds 9 times in 10, if the rest of the images are like these.", style="dim")
    if not made.exact:
        console.print("The ledger held replies before: calls that brought nothing usable are not counted.")
    if not made.total.prompt_tokens:
        console.print("The servers report no tokens: nothing can be said of tokens and money.", style="yellow")
    elif not made.total.money:
        console.print("The recipe has no prices (models.NAME.price): no money.", style="dim")


def _time_told(made: Plan) -> str:
    full = f"{duration(made.seconds_full)} if as many calls as the recipe allows at once take no longer than these"
    if made.seconds_pilot is None:
        return f"Time: at least {full}."
    return f"Time: from {full}, to {duration(made.seconds_pilot)} at the pilot's pace."


def _cells(figures: Figures) -> list[str]:
    return [
        *(f"{round(getattr(figures, name)):,}" for name in _FIGURES[:-1]),
        f"{figures.money:,.2f}" if figures.money >= 1 else f"{figures.money:,.4f}",
    ]
