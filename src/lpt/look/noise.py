"""Compounding noise: the share of wrong labels that survives each stage.

Where pictures are rendered, the truth of every question is known, whatever the asker said. A wrong label that
enters at Ask makes a right thought look wrong and a wrong one right; this follows it into the sets.
"""

from typing import Final

import msgspec
import polars as pl

from lpt.analyze.truth import known, of_world
from lpt.store.run import Run

TITLE: Final = "Wrong labels, known because the pictures are rendered"


class Noise(msgspec.Struct, frozen=True):
    """How many of the records after a stage rest on a question whose label is wrong."""

    after: str
    records: int
    wrong: int


def noise(run: Run) -> list[Noise] | None:
    """Follow wrong labels through a run of rendered pictures; None where the truth is not known."""
    if not known(run) or not run.has("questions"):
        return None
    wrong = mislabelled(run)
    rows = [_row("ask", run.table("questions").select(question="id"), wrong)]
    for table, after in (("thoughts", "think: graded correct"), ("long_thoughts", "think harder: graded correct")):
        right = run.table(table).filter(pl.col("verdict") == "correct").select("question")
        rows.append(_row(after, right, wrong))
    if run.has("sft"):
        long = run.table("sft").filter(pl.col("set") == "long").select("question")
        rows.append(_row("SFT set", long, wrong))
        rows.append(_row("preference set", run.table("preferences").select("question"), wrong))
    return rows


def _row(after: str, questions: pl.LazyFrame, wrong: set[str]) -> Noise:
    column = questions.collect(engine="streaming")["question"]
    return Noise(after, len(column), int(column.is_in(list(wrong)).sum()))


def mislabelled(run: Run) -> set[str]:
    """The ids of the questions whose marked answer is not the picture's."""
    return set(of_world(run).filter(pl.col("wrong"))["question"])
