"""Which pairs are made: a chosen turn and a rejected one to the same prompt.

O ≻ O→X      a right thought, and what became of it when thinking went astray
O ≻ X        a right thought and a wrong one
O ≻ X→X      ... and a wrong one that thinking harder did not mend
X→O ≻ X      a mistake put right, and the mistake itself
X→O ≻ X→X    ... and the same mistake, thought further in vain
O ≻ O→O      the short way and the long way to the same answer (`compactness`, off by default)

A chosen text is in one pair at most; of X→O, a rejected text, too. The two sides of such a pair begin with the same
wrong thought, word for word.
"""

from typing import NamedTuple

import polars as pl

from lpt.curate import select, sft
from lpt.settings import CurateSettings

BACK = "X→O"


class Paired(NamedTuple):
    """The pairs, and why other candidates are in none."""

    pairs: pl.DataFrame
    """chosen (id), rejected (id), category, image, question."""
    drops: pl.DataFrame
    """id, image, reason, detail."""


def pair(notes: pl.DataFrame, settings: CurateSettings, seed: int) -> Paired:
    """Find a rejected turn for each right thought and each mistake put right.

    Args:
        notes: candidates that passed the filters: id, image, question, thought, kind, category, length, print (of
            the whole turn), origin (print of the simple thought that it began with), clean (a long thought: whether
            the wrong words that it begins with passed the filters, too).
        settings: the recipe's.
        seed: the recipe's.
    """
    chosen = notes.filter(pl.col("category").is_in(["O", BACK]))
    reasons: list[pl.DataFrame] = []

    def drop(rows: pl.DataFrame, reason: str) -> None:
        reasons.append(rows.select("id", "image", reason=pl.lit(reason), detail="category"))

    # Both sides of a pair are learnt from in full, the words before the cue included.
    drop(chosen.filter(~pl.col("clean")), "prefix-dropped")
    usable = notes.filter(pl.col("clean") & pl.col("category").is_in(["X", "X→X", "O→X", "O→O"]))
    if not settings.compactness:
        usable = usable.filter(pl.col("category") != "O→O")
    usable = usable.with_columns(select.draws(usable["id"], seed, "rejected")).sort("draw", "id")
    chosen = chosen.filter("clean")
    distinct = select.first_of_each(chosen, "question", "print")
    distinct = distinct.with_columns(select.draws(distinct["id"], seed, "chosen")).sort("draw", "id")
    drop(chosen.join(distinct, on="id", how="anti"), "already-chosen")

    back = _back(distinct.filter(pl.col("category") == BACK), usable)
    forward = _forward(distinct.filter(pl.col("category") == "O"), usable, settings, seed)
    candidates = pl.concat([back, forward]).with_columns(category=pl.col("pair"))
    unpaired = candidates.filter(pl.col("rejected").is_null())
    reasons.append(unpaired.select("id", "image", reason="why", detail=pl.col("category").fill_null("")))
    paired = candidates.filter(pl.col("rejected").is_not_null())

    quota = sft.quota(settings)
    if quota is not None:
        paired = paired.with_columns(key=select.draws(paired["id"], seed, "preferences"))
    kept = select.within_quota(paired, quota)
    drop(paired.join(kept, on="id", how="anti"), "question-quota")
    pairs = kept.select(pl.col("id").alias("chosen"), "rejected", "category", "image", "question")
    return Paired(pairs, pl.concat(reasons))


def _back(chosen: pl.DataFrame, usable: pl.DataFrame) -> pl.DataFrame:
    """Pair the i-th X→O of a wrong thought with its i-th rejected text: the thought itself, then its X→X."""
    rejected = usable.filter(pl.col("category").is_in(["X", "X→X"]))
    rejected = select.first_of_each(rejected, "question", "origin", "print")
    rejected = rejected.sort(pl.col("category") != "X", "draw", "id").select(
        "question", "origin", _place("question", "origin"), rejected="id", against="category"
    )
    there = rejected.select("question", "origin").unique().with_columns(some=pl.lit(value=True))
    return (
        chosen.with_columns(_place("question", "origin"))
        .join(rejected, on=["question", "origin", "place"], how="left")
        .join(there, on=["question", "origin"], how="left")
        .select(
            "id",
            "image",
            "question",
            "rejected",
            pair=pl.format("X→O≻{}", "against"),
            why=pl.when("some").then(pl.lit("rejected-taken")).otherwise(pl.lit("no-rejected")),
        )
    )


def _forward(chosen: pl.DataFrame, usable: pl.DataFrame, settings: CurateSettings, seed: int) -> pl.DataFrame:
    """Pair each O with one of what its question has to reject, each kind being as likely as another."""
    wrong = usable.filter(pl.col("category").is_in(["O→X", "X", "X→X"]))
    own = [wrong.filter(pl.col("category") == "O→X").select("id", "draw", "category", "thought")]
    if settings.compactness:
        longer = usable.filter(pl.col("category") == "O→O").join(
            chosen.select("thought", short="length"), on="thought", how="inner"
        )
        longer = longer.filter(pl.col("length") >= settings.compactness_ratio * pl.col("short"))
        own.append(longer.select("id", "draw", "category", "thought"))
    theirs = wrong.filter(pl.col("category") != "O→X").select("id", "draw", "category", "question")

    # Each kind's rejected texts stand in a row, drawn once; the chosen of a question take them in turn.
    def lined(rows: pl.DataFrame, by: str) -> pl.DataFrame:
        rows = rows.sort("draw", "id").with_columns(_place(by, "category"), size=pl.len().over(by, "category"))
        return rows.select(by, "place", "size", rejected="id", against="category")

    chosen = chosen.with_columns(turn=_place("question"))
    found = [
        chosen.join(lined(rows, by), on=by, how="inner").filter(pl.col("turn") % pl.col("size") == pl.col("place"))
        for rows, by in ((pl.concat(own), "thought"), (theirs, "question"))
    ]
    columns = ["id", "rejected", "against"]
    options = pl.concat([rows.select(columns) for rows in found]).sort("id", "against")
    options = options.with_columns(nth=_place("id"), kinds=pl.len().over("id"))
    picked = chosen.with_columns(which=select.draws(chosen["id"], seed, "category"))
    return (
        picked.join(options, on="id", how="left")
        .filter(
            pl.col("nth").is_null() | ((pl.col("which") * pl.col("kinds")).floor().cast(pl.Int64) == pl.col("nth"))
        )
        .select(
            "id",
            "image",
            "question",
            "rejected",
            pair=pl.format("O≻{}", "against"),
            why=pl.lit("no-rejected"),
        )
    )


def _place(*by: str) -> pl.Expr:
    """A row's place among those of its group, in the order in which they stand."""
    return pl.int_range(pl.len(), dtype=pl.Int64).over(*by).alias("place")
