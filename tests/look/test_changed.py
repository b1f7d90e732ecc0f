"""A run folder is taken over by another recipe: what differs is said, and nothing that may be a key."""

from pathlib import Path

from lpt.look.changed import changed
from lpt.recipe import Recipe
from lpt.store.run import Run

OLD = """
[captions]
source = "folder"
path = "/pictures"
[models.student]
model = "m"
url = "http://me:pa55word@here/v1"
headers = { X-Key = "s3cret" }
[think]
model = "student"
"""


def test_each_setting_that_differs_is_a_line_and_the_same_recipe_is_none(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", Recipe.parse(OLD))
    assert changed(tmp_path / "run", Recipe.parse(OLD)) == []
    assert changed(tmp_path / "other", Recipe.parse(OLD)) == []
    new = Recipe.parse(OLD, overrides=["think.samples=5", "captions.path=/other", "captions.count=3"])
    assert changed(tmp_path / "run", new) == [
        'captions.path: "/pictures" → "/other"',
        "captions.count: not set → 3",
        "think.samples: 3 → 5",
    ]


def test_headers_and_passwords_are_never_said(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", Recipe.parse(OLD))
    new = Recipe.parse(OLD.replace("s3cret", "n3wsecret").replace("here", "there"))
    assert changed(tmp_path / "run", new) == [
        'models.student.url: "http://…@here/v1" → "http://…@there/v1"',
        "models.student.headers.X-Key: changed",
    ]


def test_many_differences_are_counted_and_a_damaged_recipe_is_simply_replaced(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", Recipe())
    more = [f"curate.{name}={value}" for name, value in [("keep", 0.5), ("min_words", 1), ("max_words", 2)]]
    new = Recipe.parse(OLD, overrides=more)
    lines = changed(tmp_path / "run", new)
    assert len(lines) == 9
    assert lines[-1].endswith(" more")
    (tmp_path / "run/recipe.toml").write_text("torn = [")
    assert changed(tmp_path / "run", new) == []
