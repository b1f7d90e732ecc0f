"""Two evaluations side by side: what is compared, what is left out and why, and what is called out."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lpt.errors import UserError
from lpt.evaluate import columns, evaluated, paper, registry, stats
from lpt.evaluate import compare as comparing
from lpt.evaluate.compare import Comparison
from lpt.evaluate.evaluated import read
from lpt.evaluate.metrics import items_of, score
from tests.evaluate.folders import SCHEMA, folder, letters, row

MACRO = {"primary": "macro", "metrics": [{"name": "macro", "kind": "macro"}]}
PAIRS = {"primary": "pairs", "metrics": [{"name": "pairs", "kind": "cluster-all"}]}


def compared(tmp_path: Path, a: Sequence[Any], *others: Sequence[Any], **more: Any) -> Comparison:
    told = more.pop("told", None)
    paths = [folder(tmp_path / name, rows, told=told) for name, rows in zip("abcd", (a, *others), strict=False)]
    first, *rest = (read(path) for path in paths)
    return comparing.compare(first, rest, draws=2000, **more)


def test_single_answers_are_tested_by_mcnemar(tmp_path: Path) -> None:
    found = compared(
        tmp_path, letters("vstar", "R" * 20 + "W" * 20), letters("vstar", "R" * 18 + "W" * 8 + "R" * 14)
    )
    (one,) = found.differences
    assert (one.gained, one.lost) == (14, 2)
    assert one.test == "McNemar, exact"
    assert one.p == pytest.approx(stats.mcnemar(14, 2))
    assert one.difference.value == pytest.approx(12 / 40)
    assert (one.a.score.value, one.b.score.value) == (0.5, 0.8)
    assert one.clear
    assert one.detectable is not None
    assert one.planned == pytest.approx(stats.detectable_at(40))


def test_twins_are_one_piece_of_evidence(tmp_path: Path) -> None:
    """The same gains, in clusters of two: less evidence, a wider interval, another test."""

    def rows(outcomes: str) -> list[dict[str, Any]]:
        return [{**one, "cluster": f"pair {i // 2}"} for i, one in enumerate(letters("mmvp", outcomes))]

    before, after = "W" * 16 + "RW" * 12, "R" * 16 + "RW" * 12
    alone = compared(tmp_path / "1", letters("mmvp", before), letters("mmvp", after)).differences[0]
    twins = compared(tmp_path / "2", rows(before), rows(after)).differences[0]
    assert alone.difference.error is not None
    assert twins.difference.error is not None
    assert twins.difference.error > 1.2 * alone.difference.error
    assert twins.test == "sign flips of clusters"
    assert twins.p > alone.p


def test_whole_pairs_are_right_or_wrong_together(tmp_path: Path) -> None:
    def rows(outcomes: str) -> list[dict[str, Any]]:
        return [{**one, "cluster": f"pair {i // 2}"} for i, one in enumerate(letters("mmvp", outcomes))]

    # The last pair lacks an item of B: of it, half a pair would be easier than a whole one.
    found = compared(
        tmp_path, rows("RR RW WW RR RR RR WR RR".replace(" ", "")),
        rows("RR RR WW RR RR RR WR ER".replace(" ", "")), told={"mmvp": PAIRS},
    )  # fmt: skip
    (one,) = found.differences
    assert one.metric == "pairs"
    assert one.difference.units == 7
    assert [one.a.score.value, one.b.score.value] == pytest.approx([4 / 7, 5 / 7])
    assert one.test == "McNemar, exact", "pairs are units of their own"
    assert one.left_out.failed_b == 1


def test_groups_count_the_same_whatever_their_size(tmp_path: Path) -> None:
    def rows(large: str, small: str) -> list[dict[str, Any]]:
        every = letters("vstar", large + small)
        return [{**one, "category": "large" if i < len(large) else "small"} for i, one in enumerate(every)]

    found = compared(tmp_path, rows("RW" * 30, "W" * 10), rows("RW" * 30, "RRRRR" + "W" * 5), told={"vstar": MACRO})
    (one,) = found.differences
    assert one.difference.value == pytest.approx((0 + 0.5) / 2)
    assert [(part.name, part.difference.value) for part in one.categories] == [("large", 0.0), ("small", 0.5)]
    assert one.difference.low is not None
    assert one.difference.low > 0
    assert one.test == "sign flips"
    again = compared(
        tmp_path / "2",
        rows("RW" * 30, "W" * 10),
        rows("RW" * 30, "R" * 10),
        told={"vstar": MACRO},
        metrics={"vstar": "micro"},
    )
    assert again.differences[0].difference.value == pytest.approx(10 / 70)


def test_samples_are_averaged_per_item_first(tmp_path: Path) -> None:
    def rows(shares: Sequence[int]) -> list[dict[str, Any]]:
        return [
            row("vstar", i, "right" if sample < share else "wrong", sample=sample)
            for i, share in enumerate(shares)
            for sample in range(4)
        ]

    found = compared(tmp_path, rows([0, 1, 2, 3, 4, 0, 0, 2]), rows([4, 1, 2, 4, 4, 2, 0, 2]))
    (one,) = found.differences
    assert one.difference.units == 8
    assert one.difference.value == pytest.approx((1 + 0.25 + 0.5) / 8)
    assert one.test == "sign flips"


def test_what_cannot_be_compared_is_counted_by_reason(tmp_path: Path) -> None:
    a, b = letters("vstar", "RWRWRWRWRWE"), letters("vstar", "RRRWRWEWRWR")
    a = [*a, row("vstar", 90, "right")]
    b = [*b, row("vstar", 91, "right"), row("vstar", 92, "wrong")]
    b[4]["question"] = "Other words?"
    found = compared(tmp_path, a, b)
    (one,) = found.differences
    left = one.left_out
    assert (left.only_a, left.only_b, left.changed, left.failed_a, left.failed_b) == (1, 2, 1, 1, 1)
    assert one.difference.units == 8
    # asked of both in the same words = compared + failed
    assert one.difference.units + left.failed_a + left.failed_b == 11 - left.changed
    assert any("1 asked in other words" in remark for remark in found.remarks)


def test_failed_is_not_wrong(tmp_path: Path) -> None:
    whole = compared(tmp_path / "1", letters("vstar", "RRWWRRWW"), letters("vstar", "RRRWRRWW")).differences[0]
    failed = compared(tmp_path / "2", letters("vstar", "RRWWRRWW" + "RR"), letters("vstar", "RRRWRRWW" + "EE"))
    assert failed.differences[0].difference == whole.difference


def test_the_order_of_rows_changes_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a, b = (
        [
            {**one, "category": f"{i % 3}"}
            for i, one in enumerate(letters("vstar", "".join(rng.choice(list("RWU"), 60))))
        ]
        for _ in "ab"
    )
    once = compared(tmp_path / "1", a, b, told={"vstar": MACRO})
    again = compared(tmp_path / "2", a[::-1], [b[i] for i in rng.permutation(60)], told={"vstar": MACRO})
    assert once == again


def test_turning_the_two_round_turns_the_sign(tmp_path: Path) -> None:
    a, b = letters("vstar", "RWRWRWRWRWRRWW"), letters("vstar", "RRRWRRRWRWRRWR")
    there, back = (compared(tmp_path / name, *both).differences[0] for name, both in (("1", (a, b)), ("2", (b, a))))
    assert there.difference.value == -back.difference.value
    assert there.difference.low == pytest.approx(-(back.difference.high or 0))
    assert (there.gained, there.lost, there.p) == (back.lost, back.gained, back.p)


def test_several_models_are_corrected_together(tmp_path: Path) -> None:
    base = letters("vstar", "RW" * 20) + letters("mmvp", "RW" * 20)
    better = letters("vstar", "RW" * 12 + "R" * 16) + letters("mmvp", "RW" * 17 + "R" * 6)
    found = compared(tmp_path, base, better, base)
    assert found.models == ("b", "c")
    assert len(found.differences) == 4
    assert [one.holm for one in found.differences] == stats.holm([one.p for one in found.differences])
    assert {mean.model: round(mean.difference.value, 3) for mean in found.means} == {"b": 0.138, "c": 0.0}


def test_the_mean_is_over_benchmarks_with_pictures(tmp_path: Path) -> None:
    a = letters("vstar", "RW" * 10) + letters("mmvp", "RW" * 10) + letters("mmlu-pro", "R" * 20)
    b = letters("vstar", "RW" * 10) + letters("mmvp", "RW" * 10) + letters("mmlu-pro", "W" * 20)
    (mean,) = compared(tmp_path, a, b).means
    assert mean.benchmarks == ("vstar", "mmvp")
    assert mean.difference.value == 0


def test_the_published_graders_verdicts(tmp_path: Path) -> None:
    a = [{**one, "published": True} for one in letters("vstar", "RWRWRWRWU")]
    found = compared(tmp_path, a, letters("vstar", "RWRWRWRWU"), grader="published")
    (one,) = found.differences
    assert [one.a.score.value, one.b.score.value] == pytest.approx([1, 4 / 9])
    lacking = [{**row, "published": None} for row in a]
    with pytest.raises(UserError, match="no verdicts of the published grader"):
        compared(tmp_path / "2", a, lacking, grader="published")


# --- refused, with words ---------------------------------------------------------------------------------------


def test_other_items_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no item in common"):
        compared(tmp_path, letters("vstar", "RW"), [row("vstar", 50, "right")])


def test_another_version_is_refused(tmp_path: Path) -> None:
    other = [{**one, "truth": ["B"]} for one in letters("vstar", "RWRW")]
    with pytest.raises(UserError, match="different questions under the same ids"):
        compared(tmp_path, letters("vstar", "RWRW"), other)


def test_a_side_that_failed_throughout_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="every call of b failed"):
        compared(tmp_path, letters("vstar", "RWRW"), letters("vstar", "EEEE"))


def test_other_graders_are_refused(tmp_path: Path) -> None:
    a = folder(tmp_path / "a", letters("vstar", "RW"))
    b = folder(tmp_path / "b", letters("vstar", "RW"), grader="somebody's")
    with pytest.raises(UserError, match="different graders"):
        comparing.compare(read(a), [read(b)])


def test_other_protocols_are_said(tmp_path: Path) -> None:
    a = folder(tmp_path / "a", letters("vstar", "RW"))
    b = folder(tmp_path / "b", letters("vstar", "RW"), protocol={"name": "native", "max_tokens": 8192})
    (remark,) = comparing.compare(read(a), [read(b)]).remarks
    assert "name paper and native" in remark
    assert "max_tokens 1024 and 8192" in remark


def test_a_benchmark_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cvbench is not in both evaluations; both have vstar"):
        compared(tmp_path, letters("vstar", "RW"), letters("vstar", "RW"), benchmarks=["cvbench"])


def test_a_metric_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="vstar has no metric `pairs`: it has macro, micro"):
        compared(
            tmp_path, letters("vstar", "RW"), letters("vstar", "RW"), metrics={"": "pairs"}, told={"vstar": MACRO}
        )


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("eval.json", "{", "cannot be read"),
        ("eval.json", '{"benchmarks": {}}', "missing required field `model`"),
        ("scores.parquet", "PAR1", "cannot be read"),
        ("scores.parquet", None, "is not there: the evaluation has not been finished"),
        ("eval.json", None, "is not an evaluation"),
    ],
)
def test_a_damaged_folder_is_named(tmp_path: Path, file: str, content: str | None, said: str) -> None:
    path = folder(tmp_path / "a[b]*", letters("vstar", "RW"))
    (path / file).unlink()
    if content is not None:
        (path / file).write_text(content)
    with pytest.raises(UserError, match=said):
        read(path)


def test_a_column_that_is_missing_or_odd_is_named(tmp_path: Path) -> None:
    path = folder(tmp_path / "[a]", letters("vstar", "RW"))
    frame = read(path).scores
    frame.drop("cluster").write_parquet(path / "scores.parquet")
    with pytest.raises(UserError, match="no column `cluster`"):
        read(path)
    odd = [{**one, "outcome": "maybe"} for one in letters("vstar", "RW")]
    with pytest.raises(UserError, match="outcome is 'maybe'"):
        read(folder(tmp_path / "b", odd))
    with pytest.raises(UserError, match="is there twice"):
        read(folder(tmp_path / "c", letters("vstar", "RW") * 2))


def test_figures_agree_with_the_metric(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [
        {**one, "category": f"{i % 4}", "cluster": f"{i // 3}"}
        for i, one in enumerate(letters("vstar", "".join(rng.choice(list("RWU"), 120))))
    ]
    told = {"vstar": {"metrics": [{"name": "macro", "kind": "macro"}, {"name": "pairs", "kind": "cluster-all"}]}}
    for name in ("micro", "macro", "pairs"):
        found = compared(tmp_path / name, rows, rows, told=told, metrics={"": name}).differences[0]
        one = read(tmp_path / name / "a")
        assert found.a.score.value == pytest.approx(score(one.metric("vstar", name), items_of(one.scores)))


# --- failure signatures ----------------------------------------------------------------------------------------


def _called(found: Comparison) -> dict[str, str]:
    return {call.name: call.what for call in found.signatures}


def test_longer_without_better_is_overthinking(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    base = [{**one, "tokens_out": int(rng.integers(80, 120))} for one in letters("vstar", "RW" * 40)]
    longer = [{**one, "tokens_out": int(rng.integers(200, 300))} for one in letters("vstar", "RW" * 40)]
    better = [{**one, "tokens_out": 250} for one in letters("vstar", "RR" * 40)]
    assert "2.5 times as long" in _called(compared(tmp_path / "1", base, longer))["overthinking"]
    assert not _called(compared(tmp_path / "2", base, better)), "longer and better is what was wanted"
    assert not _called(compared(tmp_path / "3", longer, base))
    unknown = [{**one, "tokens_out": None} for one in longer]
    assert not _called(compared(tmp_path / "4", base, unknown)), "what was not counted shows nothing"


def test_fewer_that_can_be_read_is_format_loss(tmp_path: Path) -> None:
    base, worse = letters("vstar", "RW" * 100), letters("vstar", "RW" * 70 + "RU" * 30)
    assert _called(compared(tmp_path / "1", base, worse)) == {
        "format loss": "100.0% → 85.0% of answers can be read; the rest counts as not right"
    }
    assert not _called(compared(tmp_path / "2", base, letters("vstar", "RW" * 99 + "RU")))


def test_more_that_are_cut_off(tmp_path: Path) -> None:
    base = letters("vstar", "RW" * 50)
    cut = [{**one, "truncated": i % 4 == 0} for i, one in enumerate(base)]
    assert "0.0% → 25.0%" in _called(compared(tmp_path, base, cut))["cut off"]


def test_one_that_falls_while_others_rise(tmp_path: Path) -> None:
    base = letters("vstar", "RW" * 50) + letters("mmvp", "RW" * 50) + letters("cvbench", "RW" * 50)
    mixed = (
        letters("vstar", "R" * 100)
        + letters("mmvp", "WW" * 15 + "RW" * 35)
        + letters("cvbench", "R" * 60 + "RW" * 20)
    )
    found = compared(tmp_path / "1", base, mixed)
    assert [(call.name, call.benchmark) for call in found.signatures] == [("falls alone", "mmvp")]
    down = letters("vstar", "W" * 100) + letters("mmvp", "W" * 100) + letters("cvbench", "W" * 100)
    assert not _called(compared(tmp_path / "2", base, down)), "all fall: the mean says so itself"


def test_what_has_no_picture_falls(tmp_path: Path) -> None:
    base, worse = letters("mmlu-pro", "RW" * 50), letters("mmlu-pro", "W" * 100)
    assert "text-only loss" in _called(compared(tmp_path / "1", base, worse))
    seen = [{**one, "benchmark": "vstar"} for one in base], [{**one, "benchmark": "vstar"} for one in worse]
    assert "text-only loss" not in _called(compared(tmp_path / "2", *seen))

    def scenes(logic: str) -> list[dict[str, Any]]:
        every = letters("scenes-bench", "RW" * 20 + logic)
        return [{**one, "category": "cv" if i < 40 else "logic"} for i, one in enumerate(every)]

    found = _called(compared(tmp_path / "3", scenes("R" * 40), scenes("W" * 40)))
    assert "its category logic" in found["text-only loss"]


# --- the paper's numbers ---------------------------------------------------------------------------------------


def test_each_cell_of_the_paper_has_its_source() -> None:
    found = paper.beside([])
    assert len(found.cells) == 4 * 5 + 6
    assert all(re.fullmatch(r"arXiv:2504\.15362, .+", cell.source) for cell in found.cells)
    assert all(0 < cell.value < 100 for cell in found.cells)


def test_the_papers_figures_are_ones_that_benchmarks_have() -> None:
    for name, figure in paper.load().benchmarks.items():
        known = registry.benchmark(name)
        assert figure.metric in {metric.name for metric in known.metrics}
        assert figure.items == known.count


def test_the_papers_means_are_the_means_of_its_cells() -> None:
    """A slip of a digit in the table would show."""
    for row_ in paper.load().row:
        if row_.mean is not None:
            assert row_.mean == pytest.approx(sum(row_.scores.values()) / 5, abs=0.011)


def test_which_of_the_papers_differences_so_many_items_can_show() -> None:
    claims = {claim.benchmark: claim for claim in paper.claims(paper.load()) if claim.model.endswith("SFT + DPO")}
    assert claims["vstar"].difference == pytest.approx(11.8)
    assert claims["vstar"].visible is True
    assert claims["mmvp"].visible is False
    assert claims["mmstar-v"].visible is False
    assert claims["mme-rw-v"].visible is None, "its items are not counted in the paper"
    assert claims["mmlu-pro"].difference == pytest.approx(2.13)


def test_ours_stand_beside_them(tmp_path: Path) -> None:
    rows = [{**one, "category": "xy"[i % 2]} for i, one in enumerate(letters("vstar", "RRW" * 10))]
    found = paper.beside([read(folder(tmp_path / "a", rows, told={"vstar": MACRO}, protocol={"name": "native"}))])
    (ours,) = (cell for cell in found.cells if cell.ours)
    assert (ours.benchmark, ours.metric) == ("vstar", "macro")
    assert ours.value == pytest.approx(200 / 3)
    said = " ".join(found.remarks)
    assert "30 of the 191 items of V*" in said
    assert "the protocol native, not by the paper's" in said


def test_numbers_for_machines_come_back_the_same(tmp_path: Path) -> None:
    import msgspec

    found = compared(tmp_path, letters("vstar", "RWRW" * 5), letters("vstar", "RRRW" * 5))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Comparison) == found
    assert json.loads(msgspec.json.encode(found))["differences"][0]["difference"]["value"] == 0.25


def test_what_an_evaluation_writes_is_what_a_comparison_reads() -> None:
    assert {name: columns.SCHEMA[name] for name in evaluated.COLUMNS} == dict(evaluated.COLUMNS)
    assert set(SCHEMA) <= set(columns.SCHEMA), "what these tests write is what an evaluation writes"
