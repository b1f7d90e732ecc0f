"""Of merged runs: a call that failed in one of them is no loss where another has what it should have brought."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import polars as pl

from lpt.records import LOST, Drop

Sample: TypeAlias = tuple[object, ...]
"""What a call asks for, one sample of it: the stage, the record that asks, and which sample it is."""

_INDEXES = 256
"""Samples of one parent that are looked among: a drop says which it is by its id alone."""


def answered(drops: pl.DataFrame, made: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Drops without those of failed calls whose samples are there, and with one of a sample that failed twice.

    Args:
        drops: the drops of some images, each once.
        made: questions, thoughts and long thoughts of the same images.
    """
    failed = drops.filter(pl.col("reason").is_in(LOST)).sort("id")
    if failed.is_empty():
        return drops
    there: set[Sample] = set(_there(made))
    gone: list[str] = []
    for row in failed.iter_rows(named=True):
        sample = _lost(row)
        if sample is None:
            continue
        if sample in there:
            gone.append(row["id"])
        there.add(sample)
    return drops.filter(~pl.col("id").is_in(gone))


def _there(made: Mapping[str, pl.DataFrame]) -> Iterator[Sample]:
    for caption, index, stem in made["questions"].select("caption", "index", "stem").iter_rows():
        yield "ask", caption
        yield "ask", caption, f"question {index + 1}: {stem}"
    for question, index in made["thoughts"].select("question", "index").iter_rows():
        yield "think", question, index
    for thought, cue, index in made["long_thoughts"].select("thought", "cue", "index").iter_rows():
        yield "think_harder", thought, cue, index


def _lost(row: Mapping[str, Any]) -> Sample | None:
    """The sample that a call should have brought when it failed; see `synthesis.journey` and `synthesis.bring`."""
    stage, record, detail = row["stage"], row["record"], row["detail"]
    about = detail.partition(" ")[2]  # behind the kind of the failure
    if stage == "ask":
        return ("ask", record, about) if about else ("ask", record)
    for index in range(_INDEXES):
        if Drop.make(stage, record, row["image"], row["reason"], detail, index=index).id == row["id"]:
            return (stage, record, about, index) if stage == "think_harder" else (stage, record, index)
    return None
