"""The funnel of a run: what was made at each stage, what was kept, and why the rest was dropped."""

from collections.abc import Iterator
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lpt.curate.funnel import StageCount, funnel
from lpt.curate.judged import judged
from lpt.look.noise import TITLE, Noise, noise
from lpt.look.safe import safe
from lpt.look.spending import Prices, cost
from lpt.pipeline import State
from lpt.records import Stage
from lpt.store.reading import LedgerReader, Spent
from lpt.store.run import Run

_TITLES: dict[Stage, str] = {
    "captions": "captions",
    "ask": "ask · questions",
    "think": "think · thoughts",
    "think_harder": "think harder · long thoughts",
    "filter": "filter",
    "sft": "SFT set",
    "preferences": "preference set",
}


def spent(run: Run) -> list[Spent]:
    """What the calls cost whose replies this run's tables hold, by stage and model."""
    if not run.ledger_path.exists():
        return []
    with LedgerReader(run.ledger_path) as ledger:
        return ledger.spent(_replies(run))


def tokens(rows: list[Spent]) -> dict[str, dict[str, int]]:
    """Prompt, cached and completion tokens by stage."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        stage = found.setdefault(row.stage, {"prompt": 0, "cached": 0, "completion": 0})
        stage["prompt"] += row.prompt_tokens
        stage["cached"] += row.cached_tokens
        stage["completion"] += row.completion_tokens
    return found


def _replies(run: Run) -> Iterator[str]:
    for name in ("questions", "thoughts", "long_thoughts"):
        yield from run.replies(name).collect()["reply"]


def status(run: Run) -> dict[str, Any]:
    """Everything that `lpt status --json` says."""
    state = State.of_run(run)
    paid = spent(run)
    by_stage = tokens(paid)
    truth = noise(run)
    return {
        "run": str(run.path),
        "complete": state.complete if state else None,
        "images": {"arrived": state.images, "of": state.of} if state else None,
        "stages": [{**msgspec.to_builtins(count), "tokens": by_stage.get(count.stage)} for count in funnel(run)],
        "outdated": run.outdated(),
        "examples": _sets(run, "sft", "set"),
        "pairs": _sets(run, "preferences", "category"),
        "judgements": [msgspec.to_builtins(count) for count in judged(run)],
        "money": sum(cost(row, Prices(run.recipe)) for row in paid),
        "wrong_labels": None if truth is None else [msgspec.to_builtins(row) for row in truth],
    }


def status_json(run: Run) -> str:
    """The status as one line of JSON."""
    return msgspec.json.encode(status(run)).decode()


def _sets(run: Run, table: str, by: str) -> dict[str, dict[str, int]]:
    counted = run.table(table).group_by(by, "split").len().collect().sort(by, "split")
    found: dict[str, dict[str, int]] = {}
    for name, split, count in counted.iter_rows():
        found.setdefault(name, {})[split] = count
    return found


def print_status(run: Run, console: Console) -> None:
    """Print the funnel, the sets, and, where the truth is known, what share of wrong labels survives."""
    state = State.of_run(run)
    if state and not state.complete:
        console.print(
            f"unfinished: {state.images} of {state.of} images have come through; the same `lpt run` goes on",
            style="yellow",
        )
    if run.outdated():
        console.print(f"the sets are of earlier tables: `lpt compose {run.path}` makes them anew", style="yellow")
    paid = spent(run)
    console.print(_funnel(funnel(run), tokens(paid)))
    if paid:
        console.print(_bill(paid, Prices(run.recipe)))
    made = _sets(run, "sft", "set")
    if made:
        sets = [f"{name} {sum(by_split.values()):,}" for name, by_split in made.items()]
        held = sum(by_split.get("validation", 0) for by_split in made.values())
        console.print(f"SFT sets: {', '.join(sets)} ({held:,} of them held out, by image)", highlight=False)
    print_judged(run, console)
    truth = noise(run)
    if truth:
        console.print(_noise(truth))


def print_judged(run: Run, console: Console) -> None:
    """Print what models that were asked (`lpt verify`) made of the run, and what the filters make of that."""
    counts = judged(run)
    if not counts:
        return
    table = Table(title="Judgements", title_justify="left", title_style="", box=None, pad_edge=False)
    table.add_column("check")
    for name in ("judged", "objections", "unparsed", "failed", "not judged"):
        table.add_column(name, justify="right")
    table.add_column("filter", overflow="fold")
    for count in counts:
        figures = (count.judged, count.objections, count.unparsed, count.failed, count.not_judged)
        state = "applied" if count.applied else "not in curate.filters: drops nothing"
        table.add_row(count.check, *(f"{figure:,}" for figure in figures), f"{count.filter}: {state}")
    console.print(table)


def _bill(paid: list[Spent], at: Prices) -> str:
    asked, known, said = (
        sum(getattr(row, name) for row in paid) for name in ("prompt_tokens", "cached_tokens", "completion_tokens")
    )
    bill = sum(cost(row, at) for row in paid)
    calls = sum(row.calls for row in paid)
    line = f"Cost: {calls:,} calls, {asked:,} tokens in ({known:,} from prefix caches), {said:,} out"
    return f"{line}; {bill:,.2f} at the recipe's prices" if bill else line


def _funnel(counts: list[StageCount], by_stage: dict[str, dict[str, int]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("stage")
    for name in ("made", "kept", "dropped"):
        table.add_column(name, justify="right")
    table.add_column("tokens out", justify="right")
    table.add_column("kept as, dropped for", overflow="fold")
    for count in counts:
        dropped = sum(count.dropped.values())
        why = Text()
        for name, number in count.categories.items():
            why.append(f"{name} {number:,}  ", style="green")
        for reason, number in count.dropped.items():
            why.append(f"{safe(reason)} {number:,}  ", style="yellow")
        out = by_stage.get(count.stage)
        table.add_row(
            _TITLES[count.stage],
            f"{count.made:,}",
            f"{count.kept:,}",
            f"{dropped:,}",
            f"{out['completion']:,}" if out else "",
            why,
        )
    return table


def _noise(rows: list[Noise]) -> Table:
    table = Table(
        title=TITLE,
        title_justify="left",
        title_style="",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column("after")
    for name in ("records", "wrong label", "share"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(row.after, f"{row.records:,}", f"{row.wrong:,}", f"{row.wrong / max(row.records, 1):.1%}")
    return table
