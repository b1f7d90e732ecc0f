"""A benchmark's figures as data: which items are averaged together, and with what weight.

A category is a path: `Count/ADE20K`, `perception/MO`. A metric speaks of whole categories, of one part of the path,
or of the parts that it names; so one item can count in the paper's mean over tasks and in the official one over
sources.

| kind | what is averaged |
|---|---|
| `micro` | all items, each the same |
| `macro` | the means of the categories, each the same |
| `cluster-all` | clusters, right when every item of the cluster is (the pairs of MMVP); of `groups` where named |
| `weighted` | the means of the groups that `groups` names, by its weights |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
import polars as pl

Kind = Literal["micro", "macro", "cluster-all", "weighted"]


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of a benchmark, from 0 to 1.

    `part` is the part of the category's path (from 0) that `macro` groups by; None is the whole path. `groups`
    gives the weights of `weighted`: a group holds the categories that equal its name or have it as a part;
    they need not add up to 1.
    """

    name: str
    kind: Kind
    groups: Mapping[str, float] | None = None
    part: int | None = None
    credit: bool = False
    """Average the credit of a graded match (column `credit`), not what is right."""
    about: str = ""  # whose definition it is, in a few words


class Group(msgspec.Struct, frozen=True):
    """The rows that are averaged together, and what their mean weighs."""

    name: str
    weight: float
    rows: np.ndarray  # bool, one per row of the frame that it was made from


MICRO = Metric(name="micro", kind="micro", about="each item counts the same")
MACRO = Metric(name="macro", kind="macro", about="each category counts the same")


def units(metric: Metric, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame of what `metric` averages: items, or clusters for `cluster-all`.

    Args:
        metric: The figure.
        frame: One row an item: `item`, `category`, `cluster`, `score` (0 to 1; the mean over the item's samples).

    Returns:
        The same columns. A cluster's score is the product of its items': whether all are right, or, with several
        samples, how likely independent samples of all are.
    """
    if metric.kind != "cluster-all":
        return frame
    return (
        frame.group_by("cluster", maintain_order=True)
        .agg(pl.col("item").first(), pl.col("category").first(), pl.col("score").product())
        .select("item", "category", "cluster", "score")
    )


def grouping(metric: Metric, categories: Sequence[str]) -> list[Group]:
    """Which rows are averaged together. `categories` are those of the rows of `units(metric, frame)`, in order.

    Groups without a row are left out, and with them their weight: `absent` names them.
    """
    if metric.kind == "micro" or (metric.kind == "cluster-all" and not metric.groups):
        return [Group("all", 1.0, np.ones(len(categories), dtype=bool))] if len(categories) else []
    if metric.kind == "macro":
        named = np.array([_part(category, metric.part) for category in categories], dtype=object)
        return [Group(name, 1.0, named == name) for name in sorted(set(named))]
    found = []
    for name, weight in (metric.groups or {}).items():
        rows = np.array([_within(category, name) for category in categories], dtype=bool)
        if rows.any():
            found.append(Group(name, weight, rows))
    return found


def absent(metric: Metric, categories: Sequence[str]) -> list[str]:
    """The groups that `metric` names and no item belongs to: its figure is then of the others alone."""
    return [name for name in metric.groups or {} if not any(_within(category, name) for category in categories)]


def score(metric: Metric, frame: pl.DataFrame) -> float:
    """The figure, from 0 to 1; NaN without items.

    Args:
        metric: The figure.
        frame: One row an item: `item`, `category`, `cluster`, `score` (0 to 1; the mean over the item's samples).
    """
    averaged = units(metric, frame)
    found = grouping(metric, averaged["category"].to_list())
    weights = sum(group.weight for group in found)
    if not weights:
        return float("nan")
    scores = averaged["score"].to_numpy()
    return float(sum(group.weight * scores[group.rows].mean() for group in found) / weights)


def items_of(rows: pl.DataFrame, metric: Metric | None = None) -> pl.DataFrame:
    """`scores.parquet`'s rows of one benchmark → one row an item: `item`, `category`, `cluster`, `score`.

    `score` is whether it is right; for a metric with `credit`, the credit of the graded match where there is one. A
    sample that failed (`error`) is no wrong answer and is left out; an item all of whose samples failed is absent.
    """
    right = pl.col("outcome") == "right"
    value = right.cast(pl.Float64)
    if metric is not None and metric.credit and "credit" in rows.columns:
        value = pl.col("credit").fill_null(value)
    return (
        rows.filter(pl.col("outcome") != "error")
        .group_by("item", maintain_order=True)
        .agg(
            pl.col("category").first(),
            pl.col("cluster").first(),
            value.mean().alias("score"),
        )
    )


def _part(category: str, part: int | None) -> str:
    if part is None:
        return category
    parts = category.split("/")
    return parts[part] if part < len(parts) else category


def _within(category: str, name: str) -> bool:
    return category == name or name in category.split("/")
