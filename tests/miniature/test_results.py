"""From an evaluation to a small file, and from small files to the table."""

import json
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lpt.cli import app
from lpt.errors import UserError
from lpt.evaluate.benchmarks import boards_bench
from lpt.evaluate.items import Item
from lpt.miniature import claims, results
from lpt.miniature.results import Line, Result, keep, load, result, table
from tests.evaluate import folders

SCRIPT = Path(__file__).parents[2] / "scripts" / "miniature.sh"
SMALL = "boards-bench-small"
ITEMS = sorted(boards_bench.items(sets=boards_bench.SMALL_SETS), key=lambda item: item.id)
KINDS = [item.category.split("/")[0] for item in ITEMS]
FOUR = ("near", "far", "pairs", "text")


def an_answer(item: Item, outcome: str, reply: str, benchmark: str = SMALL) -> dict[str, Any]:
    """A row of an evaluation's scores."""
    more = {"category": item.category, "reply": reply, "tokens_out": 30}
    return {**folders.row(benchmark, 0, outcome, **more), "item": item.id}


def evaluation(path: Path, outcomes: str, replies: str | None = None, benchmark: str = SMALL) -> Path:
    """A folder of `lpt eval run`: o right, x wrong, - unparsed, an item each."""
    said = {"o": "right", "x": "wrong", "-": "unparsed"}
    rows = [
        an_answer(item, said[letter], replies or "…", benchmark)
        for letter, item in zip(outcomes, ITEMS, strict=False)
    ]
    return folders.folder(path, rows[::-1])


@pytest.fixture(scope="module")
def fingerprint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return result(evaluation(tmp_path_factory.mktemp("any") / "e", "o" * len(ITEMS)), "base", 0).items


def made(fingerprint: str, row: str, final: str, seed: int = 0, first: str = "") -> Result:
    first = first or "-" * len(ITEMS)
    return Result(row=row, seed=seed, benchmark=SMALL, items=fingerprint, final=final, first=first, tokens=30)


def kinds(final: str) -> float:
    """The mean of the four kinds, by hand."""
    of = {kind: [one == "o" for one, each in zip(final, KINDS, strict=True) if each == kind] for kind in FOUR}
    return sum(sum(hits) / len(hits) for hits in of.values()) / 4


def nothing(_: str) -> tuple[str, ...]:
    return ()


OUTCOMES = st.lists(st.sampled_from("ox-"), min_size=len(ITEMS), max_size=len(ITEMS)).map("".join)


# --- an evaluation → a result -------------------------------------------------------------------------------------


def test_answers_are_kept_in_the_order_of_items_in_a_few_kilobytes(tmp_path: Path) -> None:
    outcomes = ("oox-" * len(ITEMS))[: len(ITEMS)]
    one = result(evaluation(tmp_path / "e", outcomes), "sft", 2, {"tokens": 5.0})
    assert (one.row, one.seed, one.benchmark, one.final) == ("sft", 2, SMALL, outcomes)
    assert (one.tokens, one.notes) == (30, {"tokens": 5.0})
    path = keep(one, tmp_path / "results")
    assert path.name == "sft-2.json"
    assert path.stat().st_size < 4000
    assert load(tmp_path / "results") == [one]


def test_the_largest_result_is_small(fingerprint: str, tmp_path: Path) -> None:
    count = sum(1 for _ in boards_bench.items())
    one = made(fingerprint, "dpo-without-mended", "o" * count, first="x" * count)
    notes = dict.fromkeys(
        ("examples", "tokens", "learnt", "steps", "seconds", "first_loss", "last_loss"), 12345.678
    )
    assert keep(msgspec.structs.replace(one, notes=notes), tmp_path).stat().st_size < 4000


@pytest.mark.parametrize(
    ("thought", "letter"),
    [
        ("<think> From a1 I come to {right}. Wait, a1 is {wrong}. </think>", "o"),
        ("<think>From a1 I count {wrong}. Not {wrong}, it is {right}.", "x"),
        ("<think> b2 is {right}. </think>", "o"),
        ("<think> Of row a I count {wrong}. </think>", "x"),
        ("<think> a1 right to a2. a2 is {right}. So it is {right} </think>", "-"),
        ("<think> From a1 I come to nothing. </think>", "-"),
        ("From a1 I come to {right}.", "-"),
        ("", "-"),
    ],
)
def test_the_first_thought_is_graded_by_its_last_word(tmp_path: Path, thought: str, letter: str) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        for item in ITEMS:
            right = item.options["ABCD".index(item.accepted[0])]
            wrong = next(option for option in item.options if option != right)
            reply = thought.format(right=right, wrong=wrong)
            yield an_answer(item, "wrong", reply)

    one = result(folders.folder(tmp_path / "e", [*rows()]), "sft", 0)
    assert set(one.first) == {letter}


def test_a_part_or_another_benchmark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="without --limit"):
        result(evaluation(tmp_path / "part", "o" * (len(ITEMS) - 1)), "base", 0)
    with pytest.raises(UserError, match="is no evaluation on boards-bench"):
        result(evaluation(tmp_path / "other", "o" * len(ITEMS), benchmark="mmvp"), "base", 0)
    whole = evaluation(tmp_path / "whole", "o" * len(ITEMS))
    for row in ("../up", "Base", ""):
        with pytest.raises(UserError, match="small letters, digits and hyphens"):
            result(whole, row, 0)


def test_what_an_evaluation_answers_twice_or_beside_the_items_is_refused(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "e", "o" * len(ITEMS))
    frame = pl.read_parquet(folder / "scores.parquet")
    other = pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("near/cell/999-0")).otherwise("item").alias("item")
    frame.with_columns(other).write_parquet(folder / "scores.parquet")
    with pytest.raises(UserError, match="run it again"):
        result(folder, "base", 0)


def test_a_training_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "sft.json"
    data = {"examples": 10, "tokens": 900, "learnt": 300, "more": "…"}
    trained = {"steps": 7, "seconds": 1.5, "first_loss": 2.0, "last_loss": 0.5}
    path.write_text(json.dumps({"data": data, "trained": trained}))
    assert results.trained(path)["tokens"] == 900
    assert results.trained(path)["last_loss"] == 0.5
    for text in ("{}", "[1]", "no", '{"data": {}, "trained": {}}'):
        path.write_text(text)
        with pytest.raises(UserError, match="is not what `lpt train"):
            results.trained(path)


def test_results_of_other_questions_are_refused(fingerprint: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no results"):
        load(tmp_path)
    keep(made("another", "base", "o" * len(ITEMS)), tmp_path)
    with pytest.raises(UserError, match="answers other questions"):
        load(tmp_path)
    (tmp_path / "base-0.json").write_text("{}")
    with pytest.raises(UserError, match="no result of the miniature"):
        load(tmp_path)


# --- results → the table ------------------------------------------------------------------------------------------


def test_all_right_against_all_wrong_is_a_hundred(fingerprint: str) -> None:
    right, wrong = "o" * len(ITEMS), "x" * len(ITEMS)
    lines = table(
        [
            made(fingerprint, row, final, seed)
            for row, final in (("base", wrong), ("sft", right))
            for seed in (0, 1)
        ],
        claims.against,
    )
    base, sft = lines
    both = sft.differences["base"]
    gap = both.questions
    assert (gap.value, gap.high) == (1, 1)
    assert (both.each, both.trainings.value, both.trainings.low) == ((1, 1), 1, None)
    assert gap.low
    assert 0.9 < gap.low < 1  # so many answers alike are no certainty
    assert (base.shares["kinds"], sft.shares["kinds"], sft.seeds, base.differences) == (0, 1, (0, 1), {})
    text = claims.markdown(lines)
    assert f"| sft | base | +100.0 | {100 * gap.low:+.1f} to +100.0 |  |" in text
    assert "\n| base | 0.0 | 0.0 0.0 | 0.0 |" in text
    assert "\n| sft | SFT on long thoughts |\n" in text
    assert "1 or 2 seeds, interval over questions, sft: 100%" in claims.drawn(lines)


@settings(max_examples=10, phases=[Phase.generate])
@given(OUTCOMES)
def test_what_is_held_against_itself_differs_by_nothing(final: str) -> None:
    fingerprint = results._fingerprint(tuple(ITEMS))
    _, same = table([made(fingerprint, "base", final), made(fingerprint, "sft", final)], nothing)
    gap = same.differences["base"].questions
    assert gap.value == 0
    assert gap.low is not None
    assert -0.1 < gap.low == -(gap.high or 0) < 0  # so many answers alike are no certainty


@settings(max_examples=20, phases=[Phase.generate])
@given(OUTCOMES, OUTCOMES, OUTCOMES)
def test_shares_and_differences_are_those_by_hand(one: str, two: str, base: str) -> None:
    fingerprint = results._fingerprint(tuple(ITEMS))
    lines = table(
        [
            made(fingerprint, "sft", one, 3, first=base),
            made(fingerprint, "base", base, 5),
            made(fingerprint, "sft", two, 5),
            made(fingerprint, "simple", two, 5),
        ],
        lambda row: ("simple", "nowhere", "sft"),
    )
    sft = lines[0]
    assert (sft.row, sft.seeds) == ("sft", (3, 5))
    assert sft.each == pytest.approx((kinds(one), kinds(two)))
    assert sft.shares["kinds"] == pytest.approx((kinds(one) + kinds(two)) / 2)
    assert [*sft.differences] == ["base", "simple"]
    gap = sft.differences["base"].questions
    assert sft.differences["base"].each == pytest.approx([gap.value])
    assert gap.value == pytest.approx(kinds(two) - kinds(base))  # seed 3 has no base to be held against
    assert gap.low is not None
    assert gap.high is not None
    assert gap.low <= gap.value + 1e-9
    assert gap.value <= gap.high + 1e-9
    begun = [(a == "o", b == "o") for a, b in zip(base, one, strict=True) if a != "-"]
    assert sft.mended == pytest.approx(sum(not a and b for a, b in begun) / (2 * len(ITEMS)))
    assert sft.spoilt == pytest.approx(sum(a and not b for a, b in begun) / (2 * len(ITEMS)))


def test_three_trainings_have_an_interval_of_their_own(fingerprint: str) -> None:
    outcomes = ["".join("ox"[place % n == 0] for place in range(len(ITEMS))) for n in (2, 3, 5)]
    rows = [made(fingerprint, "sft", final, seed) for seed, final in enumerate(outcomes)]
    rows += [made(fingerprint, "base", "x" * len(ITEMS), seed) for seed in range(3)]
    lines = table(rows, claims.against)
    found = lines[0].differences["base"].trainings
    each = [kinds(final) for final in outcomes]
    reach = 4.30265 * statistics.stdev(each) / 3**0.5  # Student's, two degrees of freedom
    low, high = statistics.mean(each) - reach, statistics.mean(each) + reach
    assert (found.low, found.high) == pytest.approx((low, high))
    assert f"{100 * low:+.1f} to {100 * high:+.1f} |" in claims.markdown(lines)
    assert "3 seeds, interval over trainings, sft" in claims.drawn(lines)


@pytest.mark.parametrize(
    ("row", "others"),
    [
        ("base", ()),
        ("blank", ()),
        ("sft", ("simple", "scratch")),
        ("dpo", ("sft",)),
        ("dpo-compact", ("dpo",)),
        ("cue-wait", ("sft",)),
        ("simple-2400", ("boards-2400",)),
        ("zoom", ("sft",)),
    ],
)
def test_a_row_is_held_against_its_control(row: str, others: tuple[str, ...]) -> None:
    assert claims.against(row) == others


def test_rows_stand_in_the_papers_order_and_others_after_them(fingerprint: str) -> None:
    final = "o" * len(ITEMS)
    lines = table([made(fingerprint, row, final) for row in ("zoom", "dpo", "cue-wait", "base")], nothing)
    shown = [line.split(" | ")[0].removeprefix("| ") for line in claims.markdown(lines).splitlines()[2:6]]
    assert shown == ["base", "dpo", "cue-wait", "zoom"]


def test_the_script_and_the_table_know_the_same_rows() -> None:
    listed = subprocess.run([SCRIPT, "--list"], capture_output=True, text=True, check=True, timeout=60).stdout
    rows = [row for line in listed.splitlines() for row in line.partition(":")[2].split()]
    assert sorted(rows) == sorted(claims.ROWS)


# --- the table → a page, and the commands -------------------------------------------------------------------------


def a_line() -> Line:
    shares = dict.fromkeys(("kinds", *results.SHOWN), 0.5)
    more = {"first": 0.5, "mended": 0.1, "spoilt": 0.0, "tokens": 30.0}
    return Line(row="base", seeds=(0,), shares=shares, each=(0.5,), differences={}, **more)


def test_a_table_goes_between_its_marks_and_nowhere_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    first, last = claims._MARKS
    page.write_text(f"Before | x\n{first}\nold\n{last}\nafter {last}\n", encoding="utf-8")
    for _ in range(2):
        claims.write([a_line()], page)
        expected = f"Before | x\n{first}\n{claims.markdown([a_line()])}\n{last}\nafter {last}\n"
        assert page.read_text(encoding="utf-8") == expected


@pytest.mark.parametrize("text", ["nothing", claims._MARKS[0], claims._MARKS[1], "".join(claims._MARKS[::-1])])
def test_a_page_without_a_place_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(UserError, match="has no place for the table"):
        claims.write([a_line()], page)
    assert page.read_text() == text
    with pytest.raises(UserError, match="cannot be read"):
        claims.write([a_line()], tmp_path / "none.md")


def test_the_commands_keep_and_tabulate(tmp_path: Path) -> None:
    kept, page, figure = tmp_path / "results", tmp_path / "page.md", tmp_path / "gap.svg"
    for row, letter in (("base", "x"), ("sft", "o")):
        folder = evaluation(tmp_path / row, letter * len(ITEMS))
        done = CliRunner().invoke(
            app, ["miniature", "note", str(folder), "--row", row, "--seed", "0", "-o", str(kept)]
        )
        assert done.exit_code == 0, done.output
    page.write_text("\n".join(claims._MARKS))
    shown = CliRunner().invoke(app, ["miniature", "table", str(kept)])
    assert "| sft | base | +100.0 |" in shown.output
    assert CliRunner().invoke(app, ["miniature", "table", str(kept), "--into", str(page)]).exit_code == 0
    assert "| sft | base | +100.0 |" in page.read_text(encoding="utf-8")
    told = CliRunner().invoke(app, ["miniature", "table", str(kept), "--json", "--figure", str(figure)])
    assert json.loads(told.output)[1]["differences"]["base"]["questions"]["value"] == 1
    assert figure.read_text(encoding="utf-8").startswith("<svg")
