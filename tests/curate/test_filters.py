"""Each filter turns away what it is named after, and nothing that is like it."""

from pathlib import Path

import polars as pl
import pytest

from lpt.curate.filters import FILTERS, judge, resolve
from lpt.errors import UserError
from tests.curate.make import settings

GOOD = "The cube stands on the left. I look again, and its shadow falls to the right. So the answer is B."


def candidates(*texts: str, **columns: object) -> pl.DataFrame:
    defaults: dict[str, object] = {
        "kind": "long",
        "verdict": "correct",
        "before": "correct",
        "cue": "Wait,",
        "letter": "A",
        "finish_reason": "stop",
        "prompt": "What is on the left?",
        "caption": "A cube.",
    }
    frame = pl.DataFrame({"id": [str(i) for i in range(len(texts))], "learnt": texts})
    frame = frame.with_columns(whole="learnt", text=pl.format("{}</think><answer>A</answer>", "learnt"))
    return frame.with_columns(**{name: pl.lit(value) for name, value in (defaults | columns).items()})


def reason(text: str, /, **columns: object) -> str | None:
    gone = judge(candidates(text, **columns), FILTERS, settings())
    return gone["reason"][0] if gone.height else None


def test_what_is_good_passes_them_all() -> None:
    assert reason(GOOD) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cube is described as red, and so I think that the answer must be B.", "leak"),
        ("The user wants to know what stands there, so I look again at the left side.", "prompt_leak"),
        ("Wait, it is.", "too_short"),
        (" ".join(f"word{i * i}" for i in range(900)), "too_long"),
        ("The cube is on the left. the sphere is on the right. so the answer is the cube.", "case"),
        ("Looking at the left side once more i think that it is a cube and no sphere.", "case"),
        ("The cube stands on the left, 所以 the answer must be the first of the four.", "language"),
        ("The cube stands on the left. <think> Let me look again at it. It is a cube.", "markup"),
        ("The cube stands on the left.<|im_end|> Let me look again at it. It is a cube.", "markup"),
        ("The cube is red. " * 60, "repetition"),
        ("".join(f"{i}. The cube stands left of the sphere and the cone. " for i in range(40)), "repetition"),
        ("", "unfinished"),
    ],
)
def test_each_reason(text: str, expected: str) -> None:
    assert reason(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "It is about 3 m. high, e.g. as high as the door, i.e. higher than the man beside it.",
        "It opens at 9 a.m. and closes at 5 p.m. on most days, as far as I can see here.",
        "The sign says hello... and then there is nothing more to be seen on the left side.",
        "Option i is listed there. It is on the left side of the door, and it is made of wood.",
        'The sign in the middle reads "出口" in white letters, and the arrow points to the left.',
        "The angle \N{GREEK SMALL LETTER ALPHA} is about 40° here, and the café has a façade of red brick.",
        "Is it red? Yes, it is red! The cube on the left is red, and the sphere is green.",
        "x < 3 and y > 2 hold for the cube on the left, as the drawing on the board shows.",
    ],
)
def test_what_only_looks_like_a_reason_stays(text: str) -> None:
    assert reason(text) is None


def test_another_script_may_be_answered_in() -> None:
    text = "立方体 is the word for the cube that stands on the left side of the picture."
    assert reason(text) == "language"
    assert reason(text, prompt="左边是什么?") is None
    assert reason(text, caption="A board with 立方体 on it.") is None


def test_a_cut_or_unanswered_reply_is_unfinished() -> None:
    assert reason(GOOD, finish_reason="length") == "unfinished"
    assert reason(GOOD, letter=None) == "unfinished"
    assert reason(GOOD, text=GOOD) == "unfinished"


def test_simple_thoughts_are_held_to_a_quarter_of_the_words() -> None:
    assert reason("Two words.", kind="simple") is None
    assert reason("One.", kind="simple") == "too_short"


def test_the_order_of_the_recipe_decides_the_reason() -> None:
    text = "As described, the user sees a cube on the left side of the whole scene."
    one = settings(filters=("prompt_leak", "leak"))
    other = settings(filters=("leak", "prompt_leak"))
    assert judge(candidates(text), resolve(one), one)["reason"].to_list() == ["prompt_leak"]
    assert judge(candidates(text), resolve(other), other)["reason"].to_list() == ["leak"]


def test_the_detail_says_what_was_found() -> None:
    gone = judge(candidates("Wait, the cap is Described as red, so it must be the second."), FILTERS, settings())
    assert gone.rows() == [("0", "leak", "described")]


def test_a_filter_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import polars as pl\n"
        "def no_cubes(learnt, settings):\n    return learnt.str.contains('cube') & (pl.col('kind') == 'long')\n"
    )
    own = settings(filters=("leak", f"{file}:no_cubes"))
    gone = judge(candidates(GOOD, "A sphere."), resolve(own), own)
    assert gone.select("id", "reason").rows() == [("0", "no_cubes")]


def test_no_filters_let_everything_through() -> None:
    assert judge(candidates(""), resolve(settings(filters=())), settings()).height == 0


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("leek", "did you mean `leak`"),
        ("nowhere.py:f", "no file .*nowhere.py"),
        ("json:nothing", "json:nothing"),
        ("no_such_module_at_all:f", "no_such_module_at_all"),
        ("json:__name__", "is not a function"),
    ],
)
def test_an_unknown_filter_is_refused_by_name(name: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        resolve(settings(filters=(name,)))


@pytest.mark.parametrize(
    "rule", [lambda learnt, s: learnt, lambda learnt, s: pl.col("nothing"), lambda learnt, s: 1]
)
def test_a_filter_that_fails_is_the_users_to_mend(rule: object) -> None:
    with pytest.raises(UserError, match="the filter mine"):
        judge(candidates(GOOD), {"mine": rule}, settings())  # type: ignore[dict-item]


def test_rows_without_a_verdict_of_the_filter_stay() -> None:
    gone = judge(candidates(GOOD), {"mine": lambda learnt, s: pl.lit(None, pl.Boolean)}, settings())
    assert gone.height == 0
