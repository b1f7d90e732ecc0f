"""What a run's ledger says was asked, answered and spent."""

from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lpt.errors import RunError
from lpt.look.progress import duration, money
from lpt.look.safe import safe
from lpt.settings import Price
from lpt.store.ledger import Ledger, Spent
from lpt.store.run import Run


def opened(run: Run) -> Ledger:
    """A run's ledger, open.

    Raises:
        RunError: it has none.
    """
    if not run.ledger_path.exists():
        raise RunError(f"{run.path} has no ledger: nothing was asked of a model (imported runs have none)")
    return Ledger(run.ledger_path)


def spending(run: Run, ledger: Ledger) -> list[dict[str, Any]]:
    """By stage and model: calls, replies, tokens, and money at the recipe's prices."""
    at = prices(run)
    return [{**msgspec.to_builtins(spent), "money": cost(spent, at)} for spent in ledger.spent()]


def prices(run: Run) -> dict[str, Price]:
    """The recipe's prices, by the name that the ledger knows a model by."""
    return {model.model: model.price for model in run.recipe.models.values()}


def cost(spent: Spent, prices: dict[str, Price]) -> float:
    """What a stage's calls to a model cost at those prices."""
    price = prices.get(spent.model, Price())
    return money(price, spent.prompt_tokens, spent.completion_tokens, spent.cached_tokens)


def spending_json(run: Run) -> str:
    """The same, with failures by kind, as JSON."""
    with opened(run) as ledger:
        failures = [{"stage": s, "kind": k, "calls": n} for (s, k), n in ledger.failures().items()]
        return msgspec.json.encode({"spent": spending(run, ledger), "failures": failures}).decode()


def print_spending(run: Run, console: Console) -> None:
    """Print it as a table, a row for a stage and model."""
    with opened(run) as ledger:
        rows = spending(run, ledger)
        failures = ledger.failures()
    table = Table(box=None, pad_edge=False)
    for name in ("stage", "model"):
        table.add_column(name, overflow="fold")
    for name in (
        "calls",
        "failed",
        "retries",
        "replies",
        "prompt",
        "cached",
        "completion",
        "money",
        "time in calls",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["stage"],
            Text(safe(row["model"])),  # never markup: a name may hold brackets
            *(f"{row[name]:,}" for name in ("calls", "failed", "retries", "replies")),
            *(f"{row[name]:,}" for name in ("prompt_tokens", "cached_tokens", "completion_tokens")),
            f"{row['money']:,.4f}",
            duration(row["seconds"]),
        )
    if len(rows) > 1:
        total = {name: sum(row[name] for row in rows) for name in rows[0] if name not in ("stage", "model")}
        table.add_section()
        table.add_row(
            "all",
            "",
            *(f"{total[name]:,}" for name in ("calls", "failed", "retries", "replies")),
            *(f"{total[name]:,}" for name in ("prompt_tokens", "cached_tokens", "completion_tokens")),
            f"{total['money']:,.4f}",
            duration(total["seconds"]),
        )
    console.print(f"Ledger {run.ledger_path}", highlight=False, markup=False)
    console.print(table)
    for (stage, kind), count in failures.items():
        console.print(f"failed: {count} calls of {stage} ({kind})", style="yellow", markup=False)
