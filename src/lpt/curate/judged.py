"""What was judged, counted from a run's tables: what checks found, what filters make of it, what nobody judged."""

from typing import Any

import msgspec
import polars as pl

from lpt.curate import candidates, filters
from lpt.records import Check
from lpt.settings_verify import ConsistencySettings
from lpt.store.run import Run


class JudgedCount(msgspec.Struct, frozen=True, kw_only=True):
    """How one check went, over the records that its filter would look at.

    asked about = judged + unparsed + failed; all of them = asked about + not judged.
    """

    check: Check
    filter: str
    applied: bool
    """Whether the recipe has the filter. One that is not applied objects to nothing."""
    judged: int
    objections: int
    """Judged records that the filter, at its threshold, lets go or would."""
    unparsed: int
    failed: int
    not_judged: int
    """Records without any judgement: they stay."""


def judged(run: Run) -> list[JudgedCount]:
    """Count each check that has judgements or whose filter the recipe names."""
    names = run.recipe.curate.filters or ()
    counts = []
    for name, check in filters.CHECK_OF.items():
        rows = run.table("judgements").filter(pl.col("check") == check)
        if name in names or not rows.select("id").head(1).collect().is_empty():
            counts.append(_count(run, name, check, rows))
    return counts


def _count(run: Run, name: str, check: Check, rows: pl.LazyFrame) -> JudgedCount:
    settings = run.recipe.curate
    every = _questions(run) if check in candidates.OF_QUESTIONS else _long_thoughts(run)
    found = every.join(rows, left_on="id", right_on="record", how="left").with_columns(pl.col("value").alias(check))
    objects = filters.JUDGED[name](pl.lit(""), settings).fill_null(value=False)
    outcome = pl.col("outcome")
    counted: dict[str, Any] = (
        found.select(
            judged=(outcome == "judged").sum(),
            objections=objects.sum(),
            unparsed=(outcome == "unparsed").sum(),
            failed=(outcome == "failed").sum(),
            not_judged=outcome.is_null().sum(),
        )
        .collect()
        .row(0, named=True)
    )
    return JudgedCount(check=check, filter=name, applied=name in filters.applied(settings), **counted)


def _questions(run: Run) -> pl.LazyFrame:
    dropped = run.table("drops").filter(pl.col("stage") == "ask").select(id="record")
    return run.table("questions").select("id").join(dropped, on="id", how="anti")


def _long_thoughts(run: Run) -> pl.LazyFrame:
    """Those that consistency is asked about: of its categories, and past the other filters."""
    verify = run.recipe.verify.consistency or ConsistencySettings(model="")
    dropped = (
        run.table("drops")
        .filter(
            pl.col("stage").is_in(["think_harder", "filter"])
            & ~pl.col("reason").is_in([*filters.CHECK_OF, "near_duplicate"])
        )
        .select(id="record")
    )
    mark = {"correct": "O", "wrong": "X"}
    return (
        run.table("long_thoughts")
        .filter(pl.col("verdict").is_in(list(mark)))
        .with_columns(
            category=pl.concat_str(
                pl.col("before").replace_strict(mark, default="?", return_dtype=pl.String),
                pl.lit("→"),
                pl.col("verdict").replace_strict(mark, default="?", return_dtype=pl.String),
            )
        )
        .filter(pl.col("category").is_in(verify.categories))
        .select("id")
        .join(dropped, on="id", how="anti")
    )
