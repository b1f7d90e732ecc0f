"""The funnel: at each stage made = kept + dropped, counted from a run's tables alone.

What "made" means: captions, questions, thoughts and long thoughts that came or that should have come (a drop whose
record is not in the table stands for one that never came to be); filter: thoughts and long thoughts that are right
or wrong; sft: the right ones that passed (O, O→O, X→O), for the long set; preferences: those of them that can be
the chosen side (O, X→O).
"""

import msgspec
import polars as pl

from lpt.records import STAGES, Stage
from lpt.settings import SETS_ONLY
from lpt.store.run import Run

_TABLE_OF: dict[Stage, str] = {
    "captions": "captions",
    "ask": "questions",
    "think": "thoughts",
    "think_harder": "long_thoughts",
}


class StageCount(msgspec.Struct, frozen=True, kw_only=True):
    """What came into a stage, what stayed, and why the rest did not."""

    stage: Stage
    made: int
    kept: int
    dropped: dict[str, int]
    """By reason, the most frequent first."""
    categories: dict[str, int] = {}
    """What was kept, by verdicts: of thoughts, long thoughts, and what the sets are made of."""


def funnel(run: Run) -> list[StageCount]:
    """Count every stage that a run has come through; of sets only those that are made from its tables."""
    reasons = _reasons(run)
    counts = [_made(run, stage, reasons.get(stage, {})) for stage in STAGES if stage in _TABLE_OF]
    if run.has("sft") and not run.outdated():
        imported = run.recipe.captions.source in SETS_ONLY
        counts += _imported(run, reasons) if imported else _curated(run, reasons)
    return [count for count in counts if count.made or count.stage == "captions"]


def check(counts: list[StageCount]) -> None:
    """See that nothing vanished.

    Raises:
        AssertionError: at some stage made ≠ kept + dropped: a bug of ours, or tables of different runs.
    """
    for count in counts:
        dropped = sum(count.dropped.values())
        assert count.made == count.kept + dropped, (
            f"{count.stage}: {count.made} made, but {count.kept} kept and {dropped} dropped"
        )


def _reasons(run: Run) -> dict[str, dict[str, int]]:
    counted = run.table("drops").group_by("stage", "reason").len().collect()
    found: dict[str, dict[str, int]] = {}
    for stage, reason, number in counted.sort(["len", "reason"], descending=[True, False]).iter_rows():
        found.setdefault(stage, {})[reason] = number
    return found


def _dropped(run: Run, *stages: Stage) -> pl.LazyFrame:
    return run.table("drops").filter(pl.col("stage").is_in(stages)).select(id="record")


def _made(run: Run, stage: Stage, dropped: dict[str, int]) -> StageCount:
    table = run.table(_TABLE_OF[stage])
    drops = _dropped(run, stage)
    never = _count(drops.join(table.select("id"), on="id", how="anti"))
    kept = table.join(drops.unique(), on="id", how="anti")
    categories: dict[str, int] = {}
    if stage in {"think", "think_harder"}:
        kept = kept.filter(pl.col("verdict") != "unparsed")
        categories = _categories(kept.select(category=_category(stage)))
    return StageCount(
        stage=stage, made=_count(table) + never, kept=_count(kept), dropped=dropped, categories=categories
    )


def _curated(run: Run, reasons: dict[str, dict[str, int]]) -> list[StageCount]:
    judged = pl.concat(
        [
            run.table(_TABLE_OF[stage])
            .filter(pl.col("verdict") != "unparsed")
            .join(_dropped(run, stage).unique(), on="id", how="anti")
            .select("id", category=_category(stage))
            for stage in ("think", "think_harder")
        ]
    )
    passed = judged.join(_dropped(run, "filter").unique(), on="id", how="anti").collect()
    examples = run.table("sft").filter(pl.col("set") == "long")
    pairs = run.table("preferences")
    rows: list[tuple[Stage, int, int, dict[str, int]]] = [
        ("filter", _count(judged), passed.height, _categories(passed.lazy())),
        (
            "sft",
            passed.filter(pl.col("category").is_in(["O", "O→O", "X→O"])).height,
            _count(examples),
            _categories(examples),
        ),
        (
            "preferences",
            passed.filter(pl.col("category").is_in(["O", "X→O"])).height,
            _count(pairs),
            _categories(pairs),
        ),
    ]
    return [
        StageCount(stage=stage, made=made, kept=kept, dropped=reasons.get(stage, {}), categories=categories)
        for stage, made, kept, categories in rows
    ]


def _imported(run: Run, reasons: dict[str, dict[str, int]]) -> list[StageCount]:
    """Sets that somebody else composed: what was made is what the files held."""
    counts = []
    stages: tuple[Stage, ...] = ("sft", "preferences")
    for stage in stages:
        kept = _count(run.table(stage))
        dropped = reasons.get(stage, {})
        categories = _categories(run.table(stage))
        made = kept + sum(dropped.values())
        counts.append(StageCount(stage=stage, made=made, kept=kept, dropped=dropped, categories=categories))
    return counts


def _category(stage: Stage) -> pl.Expr:
    def mark(name: str) -> pl.Expr:
        return pl.when(pl.col(name) == "correct").then(pl.lit("O")).otherwise(pl.lit("X"))

    return mark("verdict") if stage == "think" else pl.concat_str(mark("before"), pl.lit("→"), mark("verdict"))


def _count(rows: pl.LazyFrame) -> int:
    return int(rows.select(pl.len()).collect(engine="streaming").item())


def _categories(rows: pl.LazyFrame) -> dict[str, int]:
    counted = rows.group_by("category").len().collect(engine="streaming").sort("category")
    return dict(counted.iter_rows())
