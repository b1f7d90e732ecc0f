"""Who goes into the SFT sets.

long    O and O→O together, length-weighted within a question, down to `keep`; then as many X→O, drawn the same
        way, as make `backtracking` of the set.
simple  right short thoughts, length-weighted the same way, as many as the long set has: the control beside it.
direct  the answer alone, one for each question.

The long set is what the funnel counts; the other two are derived beside it and drop nothing.
"""

from typing import NamedTuple

import polars as pl

from lpt.curate import select
from lpt.settings import CurateSettings

FORWARD = ("O", "O→O")
BACK = "X→O"
CATEGORIES = (*FORWARD, BACK)
_TENTH = 0.1  # of the right ones (paper)
QUOTA = 4  # of one category from one question, under the default policy


class Chosen(NamedTuple):
    """What was drawn, and why the rest was not."""

    long: pl.Series
    """Ids of thoughts and long thoughts."""
    simple: pl.Series
    """Ids of thoughts."""
    drops: pl.DataFrame
    """id, image, reason, detail: the candidates of the long set that are not in it."""


def quota(settings: CurateSettings) -> int | None:
    """How many of one category may come from one question."""
    if settings.per_question is None and settings.policy == "default":
        return QUOTA
    return settings.per_question


def choose(notes: pl.DataFrame, settings: CurateSettings, seed: int, *, sparing: bool = False) -> Chosen:
    """Draw the long and the simple set.

    Args:
        notes: candidates that passed the filters: id, image, question, category, length, print.
        settings: the recipe's.
        seed: the recipe's.
        sparing: little was made in vain (a budget by quotas): where `keep` is not set, more than a tenth is drawn.
    """
    pool = notes.filter(pl.col("category").is_in(CATEGORIES))
    reasons: list[pl.DataFrame] = []

    def drop(rows: pl.DataFrame, reason: str) -> None:
        reasons.append(rows.select("id", "image", reason=pl.lit(reason), detail="category"))

    if settings.policy == "default":
        distinct = select.first_of_each(pool, "question", "print")
        drop(pool.join(distinct, on="id", how="anti"), "duplicate")
        pool = distinct

    forward = select.weighted(pool.filter(pl.col("category").is_in(FORWARD)), seed, "sft")
    back = select.weighted(pool.filter(pl.col("category") == BACK), seed, "sft")
    # The share is one of all right ones; the quota only says who may be among them.
    wanted = select.share(forward.height, _TENTH if settings.keep is None else settings.keep)
    for rows in (forward, back):
        drop(rows.join(select.within_quota(rows, quota(settings)), on="id", how="anti"), "question-quota")
    forward = select.within_quota(forward, quota(settings))
    back = select.within_quota(back, quota(settings))

    balance = settings.backtracking / (1 - settings.backtracking)
    if sparing and settings.keep is None and balance:
        wanted = max(wanted, int(back.height / balance + 0.5))
        # What was continued because it was wanted goes first; short ones fill up.
        made = forward.filter(pl.col("category") != "O")
        first = select.take(made, wanted)
        kept = pl.concat([first, select.take(forward.filter(pl.col("category") == "O"), wanted - len(first))])
    else:
        kept = select.take(forward, wanted)
    drop(forward.filter(~pl.col("id").is_in(kept.implode())), "not-drawn")
    beside = int(len(kept) * balance + 0.5)
    turned = select.take(back, beside)
    drop(back.filter(~pl.col("id").is_in(turned.implode())), "balance")

    long = pl.concat([kept, turned])
    short = select.weighted(notes.filter(pl.col("category") == "O"), seed, "sft simple")
    if settings.policy == "default":
        short = short.join(select.first_of_each(short, "question", "print").select("id"), on="id", how="semi")
    return Chosen(long, select.take(short, len(long)), pl.concat(reasons))
