"""The filter `near_duplicate`: what it compares with what, and what it must not lose."""

from pathlib import Path

import polars as pl

from lpt.curate.compose import compose
from lpt.curate.funnel import check
from lpt.store.run import Run
from tests.curate.make import Long, Short, make, settings

SAID = (
    " I look once more at the left side and count the edges again, one after the other, until I have been all the "
    "way around the object and am back where I began, and there are six of them, so it is a cube."
)
NEARLY = SAID.replace("a cube.", "a die.")
WITH = settings(filters=("leak", "near_duplicate"), keep=1.0)


def dropped(run: Run) -> dict[str, int]:
    rows = run.table("drops").filter(pl.col("reason") == "near_duplicate").collect()
    return dict(rows.group_by("stage").len().iter_rows())


def composed(path: Path, images, curate=WITH) -> Run:
    run = make(path, images, curate)
    check(compose(run))
    return run


def test_of_two_traces_that_are_nearly_the_same_the_first_by_id_stays(tmp_path: Path):
    images = [[[Short("B", said, (Long("A", added),))]] for said, added in (("One.", SAID), ("Two.", NEARLY))]
    run = composed(tmp_path, images)
    assert dropped(run) == {"filter": 1}
    (gone,) = run.table("drops").filter(pl.col("reason") == "near_duplicate").collect()["record"]
    assert gone == max(run.table("long_thoughts").collect()["id"])


def test_the_order_of_the_tables_does_not_matter(tmp_path: Path):
    images = [[[Short("B", f"Thought {i}.", (Long("A", SAID if i % 2 else NEARLY),))]] for i in range(8)]
    run = make(tmp_path, images, WITH)
    compose(run)
    first = run.table("drops").collect().sort("id")
    for name in ("thoughts", "long_thoughts", "questions"):
        frame = pl.read_parquet(run.table_path(name)).reverse()
        frame.write_parquet(run.table_path(name))
    compose(run)
    assert run.table("drops").collect().sort("id").equals(first)
    assert dropped(run) == {"filter": 7}


def test_a_right_and_a_wrong_one_that_differ_in_a_word_both_stay(tmp_path: Path):
    images = [[[Short("A", SAID), Short("B", NEARLY)]]]
    assert dropped(composed(tmp_path, images)) == {}


def test_a_copy_of_what_another_filter_drops_is_not_lost_with_it(tmp_path: Path):
    # Both orders of the ids must hold, so many pairs are tried: the leaking one is never the one that stays.
    leaking = SAID + " The caption says so."
    images = [[[Short("B", f"Thought {i}.", (Long("A", leaking if i % 2 else SAID + f" {i}"),))]] for i in range(2)]
    run = composed(tmp_path, images)
    reasons = run.table("drops").filter(pl.col("stage") == "filter").collect()["reason"].to_list()
    assert reasons == ["leak"]


def test_a_question_is_a_repetition_within_its_image_only(tmp_path: Path):
    thought = [Short("A", "The object on the left has six faces, I count them.")]
    alike = composed(tmp_path / "alike", [[thought, thought]])
    ids = alike.table("questions").collect()["id"]
    assert dropped(alike) == {"filter": 1}
    direct = alike.table("sft").filter(pl.col("set") == "direct").collect()["question"].to_list()
    assert direct == [min(ids)]
    apart = composed(
        tmp_path / "apart", [[thought], [[Short("A", "Six faces, so the thing must be a die or a cube.")]]]
    )
    assert dropped(apart) == {}


def test_it_is_off_unless_it_is_asked_for(tmp_path: Path):
    images = [[[Short("B", said, (Long("A", SAID),))]] for said in ("One.", "Two.")]
    assert dropped(composed(tmp_path, images, settings(keep=1.0))) == {}


def test_nothing_to_compare_is_no_error(tmp_path: Path):
    run = make(tmp_path, [], WITH)
    for name in ("captions", "questions", "thoughts", "long_thoughts"):
        assert run.table(name).collect().is_empty()
    check(compose(run))
