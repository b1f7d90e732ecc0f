"""Who is drawn: length-weighted draws without replacement, quotas and shares.

Every draw is a function of (seed, record id, purpose), so neither the order of the rows nor how they were cut into
partitions changes it.
"""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import repeat

import polars as pl

_DEEPEST = 1000  # 2^-1000 is about as small as a weight can be told from nothing


def digests(name: str, parts: Sequence[str], *columns: Iterable[str]) -> pl.Series:
    """`records.digest(*parts, *row)` for each row, several times as fast."""
    head = hashlib.blake2b(digest_size=16)
    for part in parts:
        head.update(f"{len(part.encode())}:{part}".encode())

    def one(row: tuple[str, ...]) -> str:
        hasher = head.copy()
        hasher.update("".join([f"{len(part.encode())}:{part}" for part in row]).encode())
        return hasher.hexdigest()

    return pl.Series(name, [one(row) for row in zip(*columns, strict=True)], dtype=pl.String)


def draws(ids: pl.Series, seed: int, purpose: str) -> pl.Series:
    """A number in [0, 1) for each id: `records.draw`."""
    names = digests("draw", [str(seed)], ids, repeat(purpose, len(ids)))
    return pl.Series("draw", [int(name[:13], 16) / 16**13 for name in names], dtype=pl.Float64)


def weighted(pool: pl.DataFrame, seed: int, purpose: str) -> pl.DataFrame:
    """Add `key`: the k rows with the largest keys are a weighted draw of k, without replacement.

    Within a question the longest row weighs 1, the next ½, then ¼, .... The keys are those of
    Efraimidis and Spirakis, u^(1/weight), in logarithms.

    Args:
        pool: rows with `id`, `question` and `length`.
        seed: the recipe's.
        purpose: what is drawn for; part of each draw.
    """
    pool = pool.sort("question", "length", "id", descending=[False, True, False])
    rank = pl.int_range(pl.len(), dtype=pl.Int64).over("question").clip(upper_bound=_DEEPEST)
    return pool.with_columns(draws(pool["id"], seed, purpose)).with_columns(
        key=(pl.col("draw") + 2.0**-60).log() * pl.lit(2.0).pow(rank)
    )


def share(total: int, part: float) -> int:
    """How many of `total` are `part` of it: rounded, but at least one of some."""
    return min(total, max(1, int(total * part + 0.5))) if total and part > 0 else 0


def take(pool: pl.DataFrame, count: int) -> pl.Series:
    """The ids of the `count` rows with the largest keys."""
    return pool.sort("key", "id", descending=[True, False]).head(count)["id"]


def within_quota(
    pool: pl.DataFrame, quota: int | None, by: tuple[str, ...] = ("question", "category")
) -> pl.DataFrame:
    """At most `quota` rows of each group: those with the largest keys."""
    if quota is None:
        return pool
    return pool.sort("key", "id", descending=[True, False]).filter(pl.int_range(pl.len()).over(*by) < quota)


def first_of_each(pool: pl.DataFrame, *by: str) -> pl.DataFrame:
    """One row of each group: the one whose id comes first, so that order of arrival does not matter."""
    return pool.sort("id").unique(by, keep="first", maintain_order=True)
