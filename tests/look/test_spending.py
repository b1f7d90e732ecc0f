"""What was spent, by stage and model, at the recipe's prices."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lpt.errors import RunError
from lpt.look.spending import print_spending, spending_json
from lpt.models.base import Choice, Reply, Usage
from lpt.recipe import Recipe
from lpt.store.ledger import Ledger, canonical, reply_key
from lpt.store.run import Run
from tests.look.small import RECIPE
from tests.scripted import SETTINGS, request


async def spent(path: Path, recipe: str = RECIPE, **calls: tuple[str, Usage]) -> Run:
    """A run whose ledger holds one call of one sample for each stage named, to the model named."""
    run = Run.create(path, Recipe.parse(recipe))
    with Ledger(run.ledger_path) as ledger:
        for stage, (model, usage) in calls.items():
            asked = request(stage, stage=stage)
            body = canonical(asked, SETTINGS)
            choice = Choice(text="x", key=reply_key(body, asked.seed))
            await ledger.put(asked, model, body, Reply(choices=(choice,), usage=usage, attempts=3, seconds=90))
        await ledger.put_failure(request("no", stage="think"), "m", b"", "http-500", "oh")
    return run


def printed(run: Run) -> str:
    out = io.StringIO()
    print_spending(run, Console(file=out, width=140, color_system=None))
    return out.getvalue()


async def test_spending_is_told_for_machines(tmp_path: Path) -> None:
    run = await spent(tmp_path, think=("m", Usage(2_000_000, 1_000_000, 1_000_000)), ask=("free", Usage(7, 8, 0)))
    told: dict[str, Any] = json.loads(spending_json(run))
    think = next(row for row in told["spent"] if row["stage"] == "think")
    assert (think["calls"], think["failed"], think["replies"], think["retries"]) == (2, 1, 1, 2)
    assert (think["prompt_tokens"], think["completion_tokens"], think["cached_tokens"]) == (
        2_000_000,
        1_000_000,
        1_000_000,
    )
    assert think["money"] == pytest.approx(1.0 + 0.1 + 2.0)
    assert next(row for row in told["spent"] if row["stage"] == "ask")["money"] == 0
    assert told["failures"] == [{"stage": "think", "kind": "http-500", "calls": 1}]


async def test_spending_is_told_as_a_table_with_its_sum(tmp_path: Path) -> None:
    run = await spent(tmp_path, think=("m", Usage(2_000_000, 1_000_000, 0)), ask=("m", Usage(1000, 0, 0)))
    rows = [line.split() for line in printed(run).splitlines()]
    assert [
        "think",
        "m",
        "2",
        "1",
        "2",
        "1",
        "2,000,000",
        "0",
        "1,000,000",
        "4.0000",
        "1",
        "min",
        "30",
        "s",
    ] in rows
    assert ["all", "3", "1", "4", "2", "2,001,000", "0", "1,000,000", "4.0010", "3", "min", "00", "s"] in rows
    assert "failed: 1 calls of think (http-500)" in printed(run)


@pytest.mark.parametrize("name", ["org/model[q4]", "[red]m[/red]", "[/]", "m\x1b[31m"])
async def test_a_models_name_is_a_name_and_nothing_else(tmp_path: Path, name: str) -> None:
    text = printed(await spent(tmp_path, think=(name, Usage(1, 1, 0))))
    assert name.replace("\x1b", "\ufffd") in text
    assert "\x1b" not in text


async def test_two_models_that_servers_call_by_one_name_are_told_apart_by_their_stages(tmp_path: Path) -> None:
    recipe = """
        [models.here]
        model = "m"
        url = "http://here/v1"
        price = { input = 1.0 }
        [models.there]
        model = "m"
        url = "http://there/v1"
        price = { input = 7.0 }
        [models.judge]
        model = "j"
        url = "http://there/v1"
        price = { input = 100.0 }
        [think]
        model = "here"
        [think_harder]
        model = "there"
        [verify.blind]
        model = "there"
        """
    one = Usage(1_000_000, 0, 0)
    stages = {"think": ("m", one), "think_harder": ("m", one), "verify blind": ("m", one), "ask": ("j", one)}
    told = json.loads(spending_json(await spent(tmp_path, recipe, **stages)))
    money = {row["stage"]: row["money"] for row in told["spent"]}
    assert money == {"think": 1, "think_harder": 7, "verify blind": 7, "ask": 100}


async def test_a_shared_ledger_says_that_it_counts_all_runs(tmp_path: Path) -> None:
    own = await spent(tmp_path / "own", think=("m", Usage(1, 1, 0)))
    shared = await spent(tmp_path / "one", f'ledger = "{tmp_path}/l.sqlite"\n{RECIPE}', think=("m", Usage(1, 1, 0)))
    assert (json.loads(spending_json(own))["shared"], json.loads(spending_json(shared))["shared"]) == (False, True)
    assert "every run that uses it" not in printed(own)
    text = " ".join(printed(shared).split())
    assert "this counts the calls of every run that uses it" in text
    assert f"lpt status {shared.path}" in text


def test_a_run_that_asked_nobody_says_so(tmp_path: Path) -> None:
    run = Run.create(tmp_path, Recipe())
    with pytest.raises(RunError, match="has no ledger: nothing was asked of a model"):
        spending_json(run)
    assert not run.ledger_path.exists()
