"""What a run's ledger says was asked, answered and spent."""

from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lpt.errors import RunError
from lpt.look.progress import duration
from lpt.look.safe import safe
from lpt.recipe import Recipe
from lpt.settings import Price
from lpt.store.reading import LedgerReader, Spent
from lpt.store.run import Run


def opened(run: Run) -> LedgerReader:
    """A run's ledger, open to be read.

    Raises:
        RunError: it has none.
    """
    if not run.ledger_path.exists():
        raise RunError(f"{run.path} has no ledger: nothing was asked of a model (imported runs have none)")
    return LedgerReader(run.ledger_path)


class Prices:
    """The recipe's prices, by what the ledger knows of a call: its stage, and the server's name for the model.

    Two models of a recipe may go by one name, on servers of two prices: then the stage tells which was asked.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._models = recipe.models
        self._used_by = recipe.used_by()
        if recipe.questions and recipe.questions.options_from:
            self._used_by["ask"] = recipe.questions.options_from
        for check, settings in msgspec.structs.asdict(recipe.verify).items():
            if settings:
                self._used_by[f"verify {check}"] = settings.model

    def __call__(self, stage: str, model: str) -> Price:
        """What a stage's calls to a model are charged; nothing, where the recipe has no such model."""
        usual = self._models.get(self._used_by.get(stage, ""))
        if usual and usual.model == model:
            return usual.price
        return next((other.price for other in self._models.values() if other.model == model), Price())


def spending(run: Run, ledger: LedgerReader) -> list[dict[str, Any]]:
    """By stage and model: calls, replies, tokens, and money at the recipe's prices."""
    at = Prices(run.recipe)
    return [{**msgspec.to_builtins(spent), "money": cost(spent, at)} for spent in ledger.spent()]


def cost(spent: Spent, at: Prices) -> float:
    """What a stage's calls to a model cost at those prices."""
    price = at(spent.stage, spent.model)
    return price.of(spent.prompt_tokens, spent.completion_tokens, spent.cached_tokens)


def spending_json(run: Run) -> str:
    """The same, with failures by kind, as JSON. `shared`: it counts the calls of all runs that use the ledger."""
    with opened(run) as ledger:
        failures = [{"stage": s, "kind": k, "calls": n} for (s, k), n in ledger.failures().items()]
        told = {"shared": run.recipe.ledger is not None, "spent": spending(run, ledger), "failures": failures}
        return msgspec.json.encode(told).decode()


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
    if run.recipe.ledger is not None:
        console.print(
            "It is shared: this counts the calls of every run that uses it. What this run's own tables took: "
            f"lpt status {run.path}",
            style="yellow",
            highlight=False,
            markup=False,
        )
    console.print(table)
    for (stage, kind), count in failures.items():
        console.print(f"failed: {count} calls of {stage} ({kind})", style="yellow", markup=False)
