"""`lpt analyze noise`: wrong labels from where they come in to where they are learnt (compounding noise).

A question whose marked answer is wrong makes a right thought look wrong and a wrong one right. Where the truth is
known, this counts such questions behind what is made, kept and dropped at each stage and by each filter, and the
verdicts that are false because of them.
"""

from pathlib import Path

import polars as pl

from lpt.analyze import charts, intervals, truth
from lpt.analyze.charts import Bar
from lpt.analyze.intervals import Estimate
from lpt.analyze.result import Analysis, Column, Figure, Result, Table, table
from lpt.analyze.traces import Source
from lpt.curate import filters, near
from lpt.errors import UserError
from lpt.store.run import Run

_WRONG = (Column("wrong", "wrong label"), Column("share", "share", "share"), Column("low", "from", "share"))
_SHARE = (*_WRONG, Column("high", "to", "share"))


def noise(source: Source, labels: Path | None = None) -> Analysis:
    """Follow wrong labels through a run.

    Args:
        source: a run.
        labels: JSON Lines of {question, right}: what people found. Without it, rendered pictures tell.

    Raises:
        UserError: the truth is not known.
    """
    run = source.need_run("wrong labels are those of a run's questions")
    if labels is not None:
        told = truth.of_labels(run, labels)
        where = "audited questions"
    elif truth.known(run):
        told = truth.of_world(run)
        where = "rendered pictures"
    else:
        raise UserError(
            f"{run.path} has no rendered pictures, so nobody knows which labels are wrong: give --labels FILE with "
            "{question, right} for the questions that people audited"
        )
    questions = run.table("questions").select("image", asked="kind", question="id").collect()
    known = questions.join(told, on="question", how="inner", maintain_order="left")
    if known.is_empty():
        raise UserError(f"{labels} labels no question: a line is {{question, right}}")
    stages = _stages(run, known)
    tables = [stages, _filters(run, known), _verdicts(run, known), _kinds(known)]
    remark = (
        f"The truth is that of {where}: {known.height:,} of {questions.height:,} questions. It is about labels "
        "alone: a thought that is wrong in what it says and right in its answer is not seen here."
    )
    picture = charts.bars("Records that rest on a wrong label", _bars(stages), percent=True)
    result = Result(
        analysis="noise",
        source={"kind": source.kind, "questions": questions.height, "known": known.height},
        tables=tuple(tables),
        figures=(Figure(name="stages", title="Records that rest on a wrong label", file="noise.stages.svg"),),
        remarks=(remark,),
    )
    return Analysis(result=result, pictures={"noise.stages.svg": picture})


def _of(rows: pl.LazyFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Rows about questions whose truth is known, with it."""
    about = known.lazy().select("question", "wrong", "truth")
    return rows.join(about, on="question", how="inner").collect(engine="streaming")


def _share(rows: pl.DataFrame) -> Estimate:
    counted = rows.with_columns(one=pl.lit(1), bad=pl.col("wrong").cast(pl.Int64)).sort("image")
    return intervals.ratios(counted, "bad", "one", share=True)


def _row(rows: pl.DataFrame) -> tuple[int, int, float | None, float | None, float | None]:
    return rows.height, int(rows["wrong"].sum()), *_share(rows)


def _stages(run: Run, known: pl.DataFrame) -> Table:
    thoughts, long = (
        run.table(name).select("image", "question", "verdict") for name in ("thoughts", "long_thoughts")
    )
    parts = [
        ("ask: questions", known.lazy().select("image", "question")),
        ("think: all", thoughts),
        ("think: graded correct", thoughts.filter(pl.col("verdict") == "correct")),
        ("think: graded wrong", thoughts.filter(pl.col("verdict") == "wrong")),
        ("think harder: all", long),
        ("think harder: graded correct", long.filter(pl.col("verdict") == "correct")),
    ]
    if run.has("sft"):
        examples = run.table("sft").filter(pl.col("set") == "long").select("image", "question", "category")
        parts += [("SFT set", examples)]
        there = examples.select("category").unique().collect()["category"].sort().to_list()
        parts += [(f"SFT set: {name}", examples.filter(pl.col("category") == name)) for name in there]
        parts += [("preference set", run.table("preferences").select("image", "question"))]
    rows = [(name, *_row(_of(part, known))) for name, part in parts]
    columns = (Column("after", "after", "text"), Column("records", "records"), *_SHARE)
    return table("stages", "Records that rest on a wrong label", columns, rows)


def _filters(run: Run, known: pl.DataFrame) -> Table:
    """What each filter took of what was graded correct, in the order in which they are applied, then the draw."""
    ids = [
        _of(run.table(name).filter(pl.col("verdict") == "correct").select("id", "image", "question"), known)
        for name in ("thoughts", "long_thoughts")
    ]
    drops = run.table("drops").filter(pl.col("stage").is_in(["think_harder", "filter", "sft"]))
    gone = drops.select("stage", "reason", id="record").unique("id", keep="first", maintain_order=True).collect()
    left = pl.concat(ids).join(gone, on="id", how="left", maintain_order="left")
    first = ["unfinished", "empty", "kept-leaking"]
    order = {name: place for place, name in enumerate((*first, *filters.applied(run.recipe.curate), near.NAME))}
    stage = {"think_harder": 0, "filter": 1, "sft": 2}
    reasons = sorted(
        {(s, r) for s, r in left.select("stage", "reason").drop_nulls().iter_rows()},
        key=lambda one: (stage[one[0]], order.get(one[1], len(order)), one[1]),
    )
    rows: list[tuple[str | int | float | None, ...]] = []
    for at, reason in reasons:
        took = left.filter((pl.col("stage") == at) & (pl.col("reason") == reason))
        before = _row(left)
        left = left.join(took.select("id"), on="id", how="anti", maintain_order="left")
        all_wrong = before[1]
        caught = int(took["wrong"].sum()) / all_wrong if all_wrong else None
        rows.append(
            (f"{at}: {reason}", *_row(took), caught, left.height, int(left["wrong"].sum()), _share(left).value)
        )
    columns = (
        Column("filter", "filter, or draw", "text"),
        Column("dropped", "dropped"),
        *_SHARE,
        Column("caught", "of all wrong ones", "share"),
        Column("left", "left"),
        Column("left_wrong", "wrong label"),
        Column("left_share", "share", "share"),
    )
    return table("filters", "What filters took of what was graded correct", columns, rows)


def _verdicts(run: Run, known: pl.DataFrame) -> Table:
    """Verdicts against the truth, where the right letter is known."""
    rows = []
    for name, title in (("thoughts", "think"), ("long_thoughts", "think harder")):
        graded = (
            run.table(name).filter(pl.col("verdict") != "unparsed").select("image", "question", "verdict", "letter")
        )
        told = _of(graded, known).filter(pl.col("truth").is_not_null() | pl.col("wrong"))
        for verdict in ("correct", "wrong"):
            mine = told.filter(pl.col("verdict") == verdict)
            # Where no option is right, no answer is.
            right = pl.col("letter").eq(pl.col("truth")).fill_null(value=False)
            mine = mine.with_columns(wrong=right if verdict == "wrong" else ~right)
            rows.append((f"{title}: graded {verdict}", *_row(mine)))
    columns = (
        Column("verdict", "verdict", "text"),
        Column("records", "records"),
        Column("wrong", "false"),
        *_SHARE[1:],
    )
    return table("verdicts", "Verdicts that the truth contradicts", columns, rows)


def _kinds(known: pl.DataFrame) -> Table:
    rows = [(kind, *_row(mine)) for (kind,), mine in known.sort("asked").group_by("asked", maintain_order=True)]
    columns = (Column("kind", "question", "text"), Column("questions", "questions"), *_SHARE)
    return table("kinds", "Wrong labels by kind of question", columns, rows)


def _bars(stages: Table) -> list[Bar]:
    def number(cell: object) -> float | None:
        return float(cell) if isinstance(cell, (int, float)) else None

    return [
        Bar(
            str(row["after"]),
            "wrong label",
            Estimate(number(row["share"]), number(row["low"]), number(row["high"])),
        )
        for row in stages.records()
    ]
