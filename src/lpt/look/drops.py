"""What left the way, one by one: which record, at which stage, and why."""

from collections.abc import Iterator

import msgspec
import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lpt.errors import UserError
from lpt.look.safe import safe
from lpt.records import STAGES, Drop
from lpt.store.run import Run

_NAMED = 3
"""Rows of a source that the end of a run names for each reason."""
_WIDEST = 200
"""Characters of a detail that a table shows."""


class Listed(msgspec.Struct, frozen=True):
    """Some of a run's drops, in the order of the stages."""

    drops: list[Drop]
    rest: int
    """How many more there are of the kind."""


def listed(run: Run, *, stage: str = "", reason: str = "", first: int = 0) -> Listed:
    """A run's drops, by stage and then by reason.

    Args:
        run: the run.
        stage: only of this stage.
        reason: only for this reason.
        first: no more than so many; 0: all.

    Raises:
        UserError: there is no such stage, or nothing was dropped for that reason.
    """
    if stage and stage not in STAGES:
        raise UserError(f'--stage is "{stage}"; it can be {", ".join(STAGES)}')
    rows = run.table("drops")
    if stage:
        rows = rows.filter(pl.col("stage") == stage)
    if reason:
        known = sorted(rows.select("reason").unique().collect()["reason"])
        if reason not in known:
            there = f"; there are: {', '.join(map(safe, known))}" if known else ", nor for any other"
            raise UserError(f'nothing was dropped{f" at {stage}" if stage else ""} for "{safe(reason)}"{there}')
        rows = rows.filter(pl.col("reason") == reason)
    order = pl.col("stage").replace_strict({name: i for i, name in enumerate(STAGES)}, return_dtype=pl.Int8)
    ordered = rows.sort(order, "reason", maintain_order=True)
    names = [field.name for field in msgspec.structs.fields(Drop)]
    frame = (ordered.head(first) if first else ordered).select(names).collect()
    count = int(rows.select(pl.len()).collect().item())
    return Listed([msgspec.convert(row, Drop) for row in frame.iter_rows(named=True)], count - frame.height)


def print_drops(found: Listed, console: Console) -> None:
    """Print them as a table, and how many more there are."""
    if not found.drops:
        console.print("nothing was dropped")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("record", "stage", "reason"):
        table.add_column(name, no_wrap=True)
    table.add_column("detail", overflow="fold")
    for drop in found.drops:
        detail = " ".join(drop.detail.split())
        cut = f"{detail[:_WIDEST]}…" if len(detail) > _WIDEST else detail
        table.add_row(drop.record[:12], drop.stage, Text(safe(drop.reason)), Text(safe(cut)))
    console.print(table)
    if found.rest:
        console.print(f"and {found.rest:,} more: --first 0 lists all, --stage and --reason choose", style="dim")


def unread(run: Run) -> Iterator[str]:
    """For each reason for which rows of the source were not taken in, a line that names the first of them."""
    rows = run.table("drops").filter(pl.col("stage") == "captions")
    counted = rows.group_by("reason").len().collect().sort(["len", "reason"], descending=[True, False])
    for reason, count in counted.iter_rows():
        first = rows.filter(pl.col("reason") == reason).select("detail").head(_NAMED).collect()["detail"]
        named = "; ".join(" ".join(detail.split())[:_WIDEST] for detail in first)
        more = f"; and {count - len(first):,} more" if count > len(first) else ""
        yield safe(f"{count:,} not taken in ({reason}): {named}{more}")
