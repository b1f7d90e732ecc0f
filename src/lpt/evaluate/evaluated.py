"""What one evaluation left: the folder with `eval.json` and `scores.parquet`, read and checked.

The folder may come from anybody, so it is looked at before it is used; a user hears which file and which column.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec
import polars as pl

from lpt.errors import UserError
from lpt.evaluate.columns import SCHEMA
from lpt.evaluate.metrics import MICRO, Metric

Grader: TypeAlias = Literal["lpt", "published"]
"""Whose verdicts count: ours, or those that the authors' published scripts would give."""

COLUMNS: Final[Mapping[str, Any]] = {
    name: kind for name, kind in SCHEMA.items() if name not in {"reply", "answer", "reason", "credit"}
}
"""The columns of `scores.parquet` that a comparison reads."""

_OUTCOMES: Final = ("right", "wrong", "unparsed", "error")


class BenchmarkRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What `eval.json` says about one benchmark."""

    revision: str | None = None
    count: int | None = None
    licence: str | None = None
    fingerprint: str | None = None
    title: str | None = None
    primary: str | None = None
    metrics: tuple[Metric, ...] = ()
    text_only: bool = False


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What `eval.json` says."""

    model: str
    benchmarks: dict[str, BenchmarkRecord]
    lpt: str | None = None
    protocol: dict[str, Any] = {}
    grader: str | None = None


class Evaluated(msgspec.Struct, frozen=True, kw_only=True):
    """One model's evaluation."""

    name: str
    """How it is called in a table: the model's name, or the folder's where two models have the same."""
    path: Path
    record: Record
    scores: pl.DataFrame

    def rows(self, benchmark: str) -> pl.DataFrame:
        """The samples of one benchmark."""
        return self.scores.filter(pl.col("benchmark") == benchmark)

    def metric(self, benchmark: str, name: str | None = None) -> Metric:
        """A metric of a benchmark by its name, by default its primary one.

        Raises:
            UserError: the benchmark has none of that name.
        """
        told = self.record.benchmarks[benchmark]
        known = {metric.name: metric for metric in told.metrics}
        wanted = name or told.primary or MICRO.name
        if wanted == MICRO.name:
            return known.get(MICRO.name, MICRO)
        if wanted not in known:
            raise UserError(
                f"{benchmark} has no metric `{wanted}`: it has {', '.join(sorted({*known, MICRO.name}))}"
            )
        return known[wanted]


def read(path: str | Path) -> Evaluated:
    """Read what an evaluation left.

    Raises:
        UserError: it is not such a folder, or a file in it is not what it should be.
    """
    path = Path(path)
    if not (path / "eval.json").is_file():
        what = "is not an evaluation: it has no eval.json" if path.exists() else "does not exist"
        raise UserError(f"{path} {what}. `lpt eval run --model … --out {path}` makes one")
    try:
        record = msgspec.json.decode((path / "eval.json").read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError) as error:
        raise UserError(f"{path / 'eval.json'} cannot be read: {error}") from error
    scores = _scores(path / "scores.parquet")
    return Evaluated(name=record.model, path=path, record=record, scores=scores)


def _scores(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise UserError(f"{path} is not there: the evaluation has not been finished; run it again to go on")
    try:
        frame = pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if missing := [name for name in COLUMNS if name not in frame.columns]:
        raise UserError(f"{path} has no column `{missing[0]}`; it has {', '.join(frame.columns)}")
    try:
        credit = pl.col("credit") if "credit" in frame.columns else pl.lit(None).alias("credit")
        read = [pl.col(name).cast(dtype) for name, dtype in COLUMNS.items()]
        frame = frame.select(*read, credit.cast(pl.Float64))
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path}: a column is not of its type: {str(error).splitlines()[0]}") from error
    if odd := set(frame["outcome"].unique()) - set(_OUTCOMES):
        raise UserError(f"{path}: outcome is {min(map(str, odd))!r}; it can be {', '.join(_OUTCOMES)}")
    if frame.select("benchmark", "item", "sample").is_duplicated().any():
        row = frame.filter(frame.select("benchmark", "item", "sample").is_duplicated()).row(0, named=True)
        raise UserError(f"{path}: sample {row['sample']} of {row['benchmark']} {row['item']} is there twice")
    return frame


def told_apart(evaluations: list[Evaluated]) -> list[Evaluated]:
    """The same, with names that differ: where two models are called the same, their folders' names are used."""
    names = [one.name for one in evaluations]
    out: list[Evaluated] = []
    for one in evaluations:
        name = one.name if names.count(one.name) == 1 else f"{one.name} ({one.path.name})"
        while name in {other.name for other in out}:
            name += "'"
        out.append(msgspec.structs.replace(one, name=name))
    return out


def graded(rows: pl.DataFrame, grader: Grader) -> pl.DataFrame:
    """The rows with the outcomes of a grader; the authors' knows right and wrong alone.

    Raises:
        UserError: the published grader's verdicts are asked for and were not kept.
    """
    if grader == "lpt":
        return rows
    lacking = rows.filter(pl.col("published").is_null() & (pl.col("outcome") != "error"))
    if len(lacking):
        raise UserError(
            f"{lacking['benchmark'][0]}: the evaluation holds no verdicts of the published grader "
            f"for {len(lacking):,} samples: run it again with this version, which asks no model anew"
        )
    verdict = pl.when("published").then(pl.lit("right")).otherwise(pl.lit("wrong"))
    return rows.with_columns(outcome=pl.when(pl.col("outcome") == "error").then(pl.lit("error")).otherwise(verdict))
