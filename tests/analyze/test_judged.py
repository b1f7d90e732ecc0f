"""A judge behind real HTTP: what it counts, what stays uncounted, and what is not asked twice."""

import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from lpt.analyze import agreement, judged
from lpt.analyze.behaviours import BEHAVIOURS, count
from lpt.analyze.result import load
from lpt.analyze.traces import Source
from lpt.cli import app
from lpt.errors import UserError
from lpt.models.base import Choice
from lpt.recipe import Recipe
from tests.analyze import made, passages

NAMES = {judged.DEFINITIONS[name].split(".")[0]: name for name in BEHAVIOURS}


def by_phrases(body: dict[str, Any], _before: int) -> tuple[int, dict[str, Any]]:
    """Count as the phrases do: of the passage, of the behaviour that is asked for."""
    prompt = body["messages"][-1]["content"]
    passage = re.findall(r"<passage>\n(.*)\n</passage>", prompt, re.DOTALL)[-1]
    name = NAMES[re.findall(r"The behaviour: ([^.]+)\.", prompt)[0]]
    return made.says(f"I counted.\n<count>{count(passage)[name]}</count>")


def test_a_judge_is_asked_once_a_behaviour_and_trace_and_agreement_is_told(tmp_path: Path):
    with made.serving(by_phrases) as server:
        run = made.a_run(tmp_path / "run", url=server.url)
        done = CliRunner().invoke(
            app, ["analyze", "behaviours", str(run.path), "--judge", "judge", "--sample", "0"]
        )
        assert done.exit_code == 0, done.output
        asked = len(server.bodies)
        again = CliRunner().invoke(
            app, ["analyze", "behaviours", str(run.path), "--judge", "judge", "--sample", "0"]
        )
        assert again.exit_code == 0
        assert len(server.bodies) == asked  # the ledger knows
    # 48 traces; words that are the same on eight images are asked about once an image, by their seeds.
    assert asked == 48 * len(BEHAVIOURS)
    rows = pl.read_parquet(run.path / "analyze" / judged.FILE)
    assert rows.columns == list(judged.COLUMNS)
    assert (rows["outcome"] == "counted").all()
    assert (rows["count"] == rows["phrases"]).all()
    told = {
        row["behaviour"]: row for row in load(run.path / "analyze" / "behaviours.json").table("judge").records()
    }
    assert told["verification"]["agree"] == 1
    assert told["verification"]["kappa"] == 1
    assert told["verification"]["asked"] == 48


def test_what_a_judge_cannot_say_is_uncounted_and_never_zero(tmp_path: Path):
    replies = {
        "verification": (200, "<count>2</count>"),
        "backtracking": (200, "there are two or so"),
        "subgoals": (200, "<count>1</count> or rather <count>2</count>"),
        "backward_chaining": (400, ""),
        "regions": (200, ""),
    }

    def rule(body: dict[str, Any], _before: int) -> tuple[int, dict[str, Any]]:
        name = NAMES[re.findall(r"The behaviour: ([^.]+)\.", body["messages"][-1]["content"])[0]]
        status, words = replies[name]
        return made.says(words) if status == 200 else (status, {"error": {"message": "too long", "code": 400}})

    with made.serving(rule) as server:
        run = made.a_run(tmp_path / "run", images=5, url=server.url)
        with Source(run.path) as source:
            frame = judged.judge(source, "judge", sample=6)
    outcomes = {name: set(frame.filter(pl.col("behaviour") == name)["outcome"]) for name in BEHAVIOURS}
    assert outcomes == {
        "verification": {"counted"},
        "backtracking": {"unparsed"},
        "subgoals": {"unparsed"},
        "backward_chaining": {"failed"},
        "regions": {"unparsed"},
    }
    uncounted = frame.filter(pl.col("outcome") != "counted")
    assert uncounted["count"].null_count() == uncounted.height
    (table,), (remark,) = agreement.tables(frame)
    rows = {row["behaviour"]: row for row in table.records()}
    assert (rows["backtracking"]["counted"], rows["backtracking"]["judge"]) == (0, None)
    assert f"{uncounted.height:,} of {frame.height:,} replies left a trace uncounted" in remark


def test_a_sample_is_even_over_categories_and_always_the_same(a_run):
    with Source(a_run.path) as source:
        traces = judged.drawn(source.batches(), 12)
        whole = pl.concat(source.batches()).reverse()
        again = judged.drawn(iter([whole[:9], whole[9:30], whole[30:]]), 12)
    assert traces == again
    categories = [trace.category for trace in traces]
    assert {categories.count(name) for name in set(categories)} == {2}


def test_who_cannot_be_asked_is_named(tmp_path: Path, a_run):
    run = tmp_path / "run"
    shutil.copytree(a_run.path, run)
    with Source(run) as source:
        with pytest.raises(UserError, match="--judge"):
            judged.judge(source, "nobody")
        frame = judged.judge(source, "judge", sample=1)  # nothing listens there
        assert set(frame["outcome"]) == {"failed"}
    prompt = tmp_path / "mine.txt"
    prompt.write_text("Count {behaviour} in {passage}.")
    with Source(run) as source, pytest.raises(UserError, match="before"):
        judged.judge(source, "judge", prompt=prompt)


def test_a_file_needs_a_place_and_a_recipe(tmp_path: Path):
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "<think> Let me check. </think>"}]
    file = tmp_path / "some.json"
    file.write_bytes(msgspec.json.encode([{"messages": turns, "images": ["a.png"]}]))
    with Source(file) as source:
        with pytest.raises(UserError, match="--out"):
            judged.judge(source, "judge")
        with pytest.raises(UserError, match="--recipe"):
            judged.judge(source, "judge", out=tmp_path / "out")
    with made.serving(by_phrases) as server:
        recipe = tmp_path / "recipe.toml"
        recipe.write_text(made.RECIPE.format(path=tmp_path, url=server.url))
        with Source(file) as source:
            frame = judged.judge(source, "judge", out=tmp_path / "out", recipe=recipe)
    assert frame.filter(pl.col("behaviour") == "verification")["count"].to_list() == [1]
    assert (tmp_path / "out" / "ledger.sqlite").exists()


@pytest.mark.parametrize(
    ("said", "count_"),
    [
        ("<count>3</count>", 3),
        ("<count> 0 </count>", 0),
        ("<count>2</count> yes, <count>2</count>", 2),
        ("<count>two</count>", None),
        ("<count>-1</count>", None),
        ("3", None),
    ],
)
def test_a_count_is_read_or_it_is_not(said: str, count_: int | None):
    assert judged.parse(Choice(text=said)) == count_


def test_agreement_is_what_scipy_and_statsmodels_say():
    stats = pytest.importorskip("scipy.stats")
    raters = pytest.importorskip("statsmodels.stats.inter_rater")
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = (rng.integers(0, 4, 30).astype(float) for _ in range(2))
        assert agreement.spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
        table = np.array(
            [[((a > 0) == x).astype(int) @ ((b > 0) == y).astype(int) for y in (0, 1)] for x in (0, 1)]
        )
        assert agreement.kappa(a > 0, b > 0) == pytest.approx(raters.cohens_kappa(table).kappa)


async def test_a_judge_is_held_against_the_labelled_passages(tmp_path: Path):
    with made.serving(by_phrases) as server:
        recipe = Recipe.parse(made.RECIPE.format(path=tmp_path, url=server.url))
        rows = passages.passages(None)[:6]
        found, lost = await passages.judge_scores(rows, recipe, "judge")
    assert lost == 0
    assert found == passages.scores(rows)  # it counts as the phrases do


def test_kappa_and_rank_correlation():
    a, b = np.array([True, True, False, False]), np.array([True, False, False, False])
    assert agreement.kappa(a, b) == pytest.approx(0.5)
    assert agreement.kappa(a, a) == 1
    assert agreement.kappa(np.array([True]), np.array([True])) is None
    assert agreement.spearman(np.array([1.0, 2, 3, 3]), np.array([2.0, 4, 9, 9])) == pytest.approx(1)
    assert agreement.spearman(np.array([1.0, 1, 1]), np.array([1.0, 2, 3])) is None
