"""Boards-bench as a benchmark: nothing to guess by, truths that hold, pictures, gray ones, and what is reported."""

import io
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import polars as pl
import pytest
from PIL import Image, ImageChops

from lpt.evaluate import metrics
from lpt.evaluate.benchmarks import boards_bench
from lpt.evaluate.benchmarks.scenes import blind_baseline
from lpt.evaluate.items import Item
from lpt.evaluate.load import load
from lpt.evaluate.protocols import protocol
from lpt.evaluate.registry import benchmark
from lpt.evaluate.run import Plan, evaluate
from lpt.records import digest
from lpt.settings import ModelSettings
from lpt.synthesis.grade import grade
from lpt.world.boards.asking import recognise
from lpt.world.boards.bench import FURTHER, KINDS, Probe, bench, solve_text
from lpt.world.boards.picture import CELL
from tests.evaluate.answering import Asked, answering
from tests.world.looks import by_hand


@pytest.fixture(scope="module")
def probes() -> list[Probe]:
    return list(bench(3, 3))


def test_every_truth_holds(probes: list[Probe]) -> None:
    for probe in probes:
        if probe.board:
            assert by_hand(probe.board, probe.stem) == probe.options[probe.answer], probe
        else:
            assert solve_text(f"{probe.given}\n{probe.stem}") == probe.options[probe.answer]
            assert solve_text(probe.stem) is None  # what is given decides


def test_each_option_of_a_set_is_right_once_and_on_a_board_of_its_own(probes: list[Probe]) -> None:
    assert tuple(dict.fromkeys(probe.category.split("/")[0] for probe in probes)) == (
        "near", "far", "pairs", "unseen", "dusk", "text",
    )  # fmt: skip
    assert len({probe.name for probe in probes}) == len(probes)
    sets: dict[str, list[Probe]] = defaultdict(list)
    for probe in probes:
        sets[probe.cluster].append(probe)
    for members in sets.values():
        assert len({(probe.stem, probe.options, probe.style) for probe in members}) == 1
        assert [probe.answer for probe in members] == list(range(len(members[0].options)))
        assert len({probe.board or probe.given for probe in members}) == len(members)
        assert len(members) == (2 if members[0].category.startswith("pairs/") else 4)


def test_which_colors_are_there_tells_nothing(probes: list[Probe]) -> None:
    for probe in probes:
        if not probe.options[0].isdigit():
            shown = probe.board.colors if probe.board else re.findall(r"[a-d][1-4] (\w+)", probe.given)
            assert set(probe.options) <= set(shown), probe


def test_details_are_what_they_are_called(probes: list[Probe]) -> None:
    for probe in probes:
        kind, detail = probe.category.split("/")
        stem = recognise(probe.stem)
        assert stem
        assert probe.style == ("dusk" if kind == "dusk" else "plain")
        if kind == "text":
            assert (stem.kind, detail) == ("follow", "follow")
        elif kind != "pairs":
            asked, _, steps = detail.partition("-")
            assert (stem.kind, str(stem.steps or len(stem.moves) or "")) == (asked, steps)


def test_a_pair_differs_in_one_cell() -> None:
    shown = [item for item in boards_bench.items(3, 3) if item.category.startswith("pairs/")]
    assert shown
    for one, other in zip(shown[::2], shown[1::2], strict=True):
        pictures = [
            Image.open(io.BytesIO(boards_bench.picture(str(item.media[0].path), 3, 3))) for item in (one, other)
        ]
        box = ImageChops.difference(*pictures).getbbox()
        assert box
        assert [box[0] // CELL, box[1] // CELL] == [(box[2] - 1) // CELL, (box[3] - 1) // CELL], one.id


def test_a_seed_is_its_questions() -> None:
    assert list(bench(5, 1)) == list(bench(5, 1))
    assert not {probe.board for probe in bench(5, 1)} & {probe.board for probe in bench(6, 1) if probe.board}


def test_the_registry_knows_its_sizes_and_paints_pictures_when_wanted() -> None:
    whole, small, blank = (load(benchmark(f"boards-bench{name}")) for name in ("", "-small", "-blank"))
    assert len(whole.items) == 3 * len(small.items) == len(blank.items) > 800
    assert blank.fingerprint == whole.fingerprint
    first, second = (item for item in whole.items[:2])
    assert whole.data(first.media[0]) != whole.data(second.media[0])
    assert blank.data(first.media[0]) == blank.data(second.media[0])
    with Image.open(io.BytesIO(blank.data(first.media[0]))) as gray:
        assert gray.size == Image.open(io.BytesIO(whole.data(first.media[0]))).size
        assert gray.getcolors() == [(4 * CELL * 4 * CELL, (128, 128, 128))]
    with pytest.raises(KeyError):
        boards_bench.picture("text/follow/000-0.png")


def test_the_blind_baseline_is_chance_everywhere() -> None:
    found = blind_baseline(boards_bench.items(1, 2))
    for name, share in found.items():
        if name != "all":
            assert share == (0.5 if name.startswith("pairs") else 0.25), name


def test_figures_are_of_their_kinds() -> None:
    items = list(boards_bench.items(1, 1))
    right = {"near": 1.0, "far": 1.0, "text": 0.0, "unseen": 1.0, "dusk": 0.0}
    frame = pl.DataFrame(
        [
            {
                "item": item.id,
                "category": item.category,
                "cluster": item.cluster,
                # of the pairs: both of the colors', one of the arrows'
                "score": right.get(
                    item.category.split("/")[0], float("color" in item.category or item.truth == "A")
                ),
            }
            for item in items
        ]
    )
    score = partial(metrics.score, frame=frame)
    made = benchmark("boards-bench")
    assert made.primary.name == "kinds"
    assert score(made.primary) == pytest.approx((1 + 1 + 0.75 + 0) / 4)
    figures = {name: score(made.metric(name)) for name in (*KINDS, *FURTHER, "both")}
    assert figures == {**right, "pairs": 0.75, "both": 0.5}


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        ("<think> Only one arrow is red. </think> <answer> red </answer>", "C"),
        ("<think> I come to blue. Not blue, it is red </think> <answer> red </answer>", "C"),
        ("<think> I come to red. </think> <answer> orange </answer>", None),
    ],
)
def test_an_answer_in_the_options_words_is_graded(said: str, letter: str | None) -> None:
    found = grade(said, {"A": "blue", "B": "green", "C": "red"}, answer="C", format="text")
    assert found.letter == letter
    assert found.format_ok == (letter is not None)


def test_a_number_is_graded_as_the_option_that_it_is() -> None:
    options = {"A": "3", "B": "2", "C": "4", "D": "1"}
    for letter, number in options.items():
        found = grade(
            f"<think> a1 1. So it is {number} </think> <answer> {number} </answer>", options, format="text"
        )
        assert (found.letter, found.method, found.format_ok) == (letter, "tag-text", True)


@pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning")  # Inspect's own
def test_with_blank_pictures_whatever_is_said_is_chance(tmp_path: Path) -> None:
    """A model that answers by a hash of all that it is shown: it tells boards apart, and gray pictures not."""
    pytest.importorskip("inspect_ai")

    def says(asked: Asked) -> str:
        shown = [line.partition(") ")[2] for line in asked.text.splitlines() if line.startswith("(")]
        seen = asked.parts[0]["image_url"]["url"]
        return f"<answer>{shown[int(digest(seen, asked.text)[:4], 16) % len(shown)]}</answer>"

    blank = boards_bench.made("gray", 1, 1, blank=True)
    pictured = boards_bench.made("seen", 1, 1)

    def read(_folder: Path) -> Iterator[Item]:
        return (item for item in boards_bench.items(1, 1) if item.media)

    with answering(says) as server:
        settings = ModelSettings(model="m", url=server.url)
        asked = [msgspec.structs.replace(one, read=read) for one in (blank, pictured)]
        evaluate(Plan(out=tmp_path, model="m", settings=settings, benchmarks=asked, protocol=protocol("paper")))
    rows = pl.read_parquet(tmp_path / "scores.parquet").with_columns(right=pl.col("outcome") == "right")
    of = rows.group_by("benchmark", "cluster").agg(pl.col("right").sum())
    assert of.filter(benchmark="gray")["right"].unique().to_list() == [1]
    assert of.filter(benchmark="seen")["right"].n_unique() > 1
