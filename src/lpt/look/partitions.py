"""How far the partitions of a run are, until they are gathered."""

from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lpt.cluster.place import open_place
from lpt.cluster.published import Published, partitions
from lpt.errors import StoreError
from lpt.look.safe import safe
from lpt.models.recorded import Traffic
from lpt.partition import Partition
from lpt.recipe import Recipe

_STAGES = ("ask", "think", "think_harder")


def open_partitions(run: str | Path) -> list[dict[str, Any]]:
    """Each partition of a run that has not been gathered as it now is; empty where there is nothing to gather.

    Returns:
        By partition: `partition`, `state` (missing, running, stopped, failed, finished), `who`, `images`, `of`,
        `kept` and `dropped` by stage, `traffic` by model, `pieces` and `error`.

    Raises:
        RunError: it was begun in several numbers of partitions.
        StoreError: the folder cannot be read.
    """
    place = open_place(run)
    of = partitions(place)
    if of is None:
        return []
    every = [Published(place, partition) for partition in Partition.all(of)]
    done = [one.done for one in every]
    if place.read("state.json") is not None and all(done):
        return []
    return [_said(one, finished=made is not None) for one, made in zip(every, done, strict=True)]


def _said(published: Published, *, finished: bool) -> dict[str, Any]:
    progress = None
    trouble = ""
    try:
        progress = published.progress
    except StoreError as error:
        trouble = str(error)
    state = "finished" if finished else progress.state if progress else "missing"
    return {
        "partition": str(published.partition),
        "state": state,
        "who": progress.who if progress else "",
        "images": progress.images if progress else 0,
        "of": progress.of if progress else None,
        "kept": progress.kept if progress else {},
        "dropped": progress.dropped if progress else {},
        "traffic": progress.traffic if progress else {},
        "pieces": len(published.pieces()),
        "error": progress.error if progress else trouble,
    }


def summed(parts: list[dict[str, Any]], recipe: Recipe) -> dict[str, Any]:
    """All partitions together: images, kept and dropped by stage, tokens, and money at the recipe's prices."""
    kept: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    money = 0.0
    tokens = 0
    for part in parts:
        kept.update(part["kept"])
        dropped.update(part["dropped"])
        for name, traffic in part["traffic"].items():
            assert isinstance(traffic, Traffic)
            tokens += traffic.prompt_tokens + traffic.completion_tokens
            if name in recipe.models:
                price = recipe.models[name].price
                money += price.of(traffic.prompt_tokens, traffic.completion_tokens, traffic.cached_tokens)
    return {
        "partitions": len(parts),
        "states": dict(Counter(part["state"] for part in parts)),
        "images": {"arrived": sum(part["images"] for part in parts), "of": sum(part["of"] or 0 for part in parts)},
        "kept": dict(kept),
        "dropped": dict(dropped),
        "tokens": tokens,
        "money": money,
    }


def print_partitions(run: Path, parts: list[dict[str, Any]], recipe: Recipe, console: Console) -> None:
    """Print a line for each partition, and their sum."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("partition")
    table.add_column("state")
    for name in ("images", "of", *(stage.replace("_", " ") for stage in _STAGES), "dropped"):
        table.add_column(name, justify="right")
    table.add_column("by", overflow="fold")
    for part in parts:
        said = safe(part["error"].partition("\n")[0] or part["who"])
        table.add_row(part["partition"], part["state"], *_figures(part, part["images"], part["of"]), said)
    total = summed(parts, recipe)
    table.add_row("all", "", *_figures(total, total["images"]["arrived"], total["images"]["of"]), "")
    console.print(table)
    left = len(parts) - total["states"].get("finished", 0)
    if left:
        console.print(f"{left} of {len(parts)} partitions are not finished: the same command goes on with each")
    else:
        console.print(f"All are finished: `lpt gather {run}` makes one run of them")


def _figures(counts: dict[str, Any], images: int, of: int | None) -> list[str]:
    kept = [f"{counts['kept'].get(stage, 0):,}" for stage in _STAGES]
    return [f"{images:,}", "" if of is None else f"{of:,}", *kept, f"{sum(counts['dropped'].values()):,}"]
