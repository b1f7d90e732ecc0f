"""The miniature's recipe: boards rendered, and the whole pipeline over them through real HTTP."""

import io
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from lpt.captions import intake, scenes
from lpt.curate.compose import compose
from lpt.curate.funnel import check, funnel
from lpt.errors import SourceError
from lpt.pipeline import synthesize
from lpt.recipe import Recipe
from lpt.records import Caption
from lpt.settings import CaptionSettings
from lpt.world.boards import picture
from lpt.world.boards.asking import recognise, solve
from lpt.world.boards.board import board
from lpt.world.boards.talk import caption, read
from lpt.world.words import draw

RECIPE = Path(__file__).parents[2] / "recipes" / "miniature.toml"
GLANCER = Path(__file__).with_name("glancer.py")
_GLANCE = r"^(?:\w\d is [a-z]+|Of (?:row|column) \w I count \d|From \w\d I (?:count \d|come to [a-z]+))\.$"


def taken(folder: Path, seed: int = 0, **settings: Any) -> list[Caption]:
    given = CaptionSettings(**{"source": "boards", "style": "plain", **settings})
    rows = list(intake.read(given, base=folder, run_images=folder / "images", seed=seed, validation=0))
    assert all(isinstance(row, Caption) for row in rows)
    return [row for row in rows if isinstance(row, Caption)]


@pytest.mark.parametrize("style", ["plain", "dusk"])
def test_boards_are_rendered_with_captions_that_tell_them(tmp_path: Path, style: str):
    for index, one in enumerate(taken(tmp_path, seed=3, count=3, style=style)):
        of = board(draw("board", 3, index))
        assert read(one.text) == of
        assert one.source_id == f"board-{style}-3-{index:06d}"
        painted = picture.png(of, f"3-{index}", style)
        assert (tmp_path / "images" / one.path).read_bytes() == painted
        assert Image.open(io.BytesIO(painted)).size == (112, 112)


def test_seeds_and_styles_are_other_pictures(tmp_path: Path):
    rows = taken(tmp_path, count=20) + taken(tmp_path, seed=1, count=20) + taken(tmp_path, count=20, style="dusk")
    assert len({row.image for row in rows}) == 60
    assert len({row.text for row in rows}) == 40
    held_out = {caption(board(draw("boards bench", 0, index))) for index in range(200)}
    assert not held_out & {row.text for row in rows}


def test_a_board_is_painted_once_unless_the_world_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first, painted = taken(tmp_path, count=2), []
    png = picture.png

    def counted(of: Any, grain: object, style: str) -> bytes:
        painted.append(grain)
        return png(of, grain, style)

    monkeypatch.setattr(picture, "png", counted)
    assert taken(tmp_path, count=3)[:2] == first
    assert painted == ["0-2"]
    (tmp_path / "images" / scenes._STAMP).write_text("another version's")
    assert taken(tmp_path, count=2) == first
    assert painted == ["0-2", "0-0", "0-1"]
    assert not (tmp_path / "images/board-plain-0-000002.png").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"style": "rich"}, "boards are plain or dusk: choose one"),
        ({"source": "scenes", "style": "dusk"}, "scenes are rich or plain: choose one"),
        ({"path": "."}, "take one out"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path: Path, settings: dict[str, Any], message: str):
    with pytest.raises(SourceError, match=message):
        taken(tmp_path, **settings)


def share(table: pl.DataFrame) -> float:
    """How many of those that say anything are right."""
    said = table.filter(pl.col("verdict") != "unparsed")
    return said.filter(pl.col("verdict") == "correct").height / said.height


def test_the_recipe_makes_every_category_and_every_kind_of_pair(tmp_path: Path):
    student = f"models.student.launch={f'{sys.executable} {GLANCER} {{port}}'!r}"
    run = synthesize(Recipe.load(RECIPE, [student, "captions.count=10"]), tmp_path / "run")
    compose(run)
    check(funnel(run))

    questions, thoughts, longs = (run.table(name).collect() for name in ("questions", "thoughts", "long_thoughts"))
    told = dict(run.table("captions").select("id", "text").collect().iter_rows())
    assert set(questions["answer_format"]) == {"text"}
    assert set(questions["system"]) == {"Look, think, then answer."}
    assert set(questions["kind"]) == {"spatial", "counting", "recognition"}
    right = 0
    for id_, stem, options, answer in questions.select("caption", "stem", "options", "answer").iter_rows():
        of, asked = read(told[id_]), recognise(stem)
        assert of
        assert asked
        right += options["ABCD".index(answer)] == solve(of, asked)
    assert right >= 0.9 * questions.height
    assert thoughts["format_ok"].all()
    assert set(longs["joint"]) == {" "}
    assert longs["prefix"].str.contains(_GLANCE).all()
    # The reasoner knows the board and the student does not.
    assert share(thoughts) < 0.4
    assert 0.5 < share(longs.filter(pl.col("before") == "wrong")) < 0.9

    sets = run.table("sft").collect()
    assert {"O", "O→O", "X→O"} <= set(sets["category"])
    back = sets.filter(pl.col("category") == "X→O").row(0, named=True)
    assert back["prefix"].startswith("<think> ")
    assert back["target"].endswith(" </answer>")
    pairs = set(run.table("preferences").collect()["category"])
    assert pairs == {"O≻O→X", "O≻X", "O≻X→X", "X→O≻X", "X→O≻X→X"}
    reasons = set(run.table("drops").collect().filter(pl.col("stage") == "filter")["reason"])
    assert reasons <= {"leak"}, "the filters let the boards' language pass"
