"""What is no file, and what leads out of the folder: never opened, and never waited for."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from lpt.errors import LptError, RecipeError, SourceError
from lpt.imports.files import files
from lpt.imports.lpt30k import import_lpt30k
from lpt.imports.published import CAPTIONS, QUESTIONS, import_published
from lpt.imports.sets import Imported
from lpt.imports.sharegpt import import_sharegpt
from lpt.recipe import Recipe
from lpt.records import Caption, Drop
from tests.captions.files import kept, reasons, take
from tests.hostile.scratch import SECRET
from tests.hostile.seeds import PUBLISHED, SEEDS, lines, picture

OUTSIDE = (
    "../secret.jpg",
    "sub/../../secret.jpg",
    "{root}/../secret.jpg",
    "{secret}",
    "link.jpg",
    "folder/secret.jpg",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a picture in it, a picture beside it, and the ways that lead there."""
    inside = tmp_path / "in"
    (inside / "sub").mkdir(parents=True)
    (inside / "a.jpg").write_bytes(picture())
    (tmp_path / "secret.jpg").write_bytes(picture())
    (tmp_path / "secret.txt").write_text(SECRET)
    (inside / "link.jpg").symlink_to("../secret.jpg")
    (inside / "folder").symlink_to("..")
    return inside


def names(folder: Path) -> list[str]:
    return [name.format(root=folder, secret=folder.parent / "secret.jpg") for name in OUTSIDE]


def test_no_list_leads_out_of_its_folder(folder: Path):
    path = folder / "list.jsonl"
    path.write_bytes(lines(*({"image": name, "caption": "A cap."} for name in [*names(folder), "a.jpg"])))
    items = take("jsonl", path)
    assert [caption.path for caption in kept(items)] == ["a.jpg"]
    assert set(reasons(items)) == {"path-outside"}
    assert all(str(folder) not in item.detail for item in items if isinstance(item, Drop))


def test_no_caption_is_read_from_outside(folder: Path):
    (folder / "a.txt").symlink_to("../secret.txt")
    (folder / "b.jpg").write_bytes(picture("PNG"))
    (folder / "b.txt").write_text("Another.")
    items = take("folder", folder)
    assert [caption.text for caption in kept(items)] == ["Another."]
    assert SECRET not in str(items)


@pytest.mark.parametrize("load", [import_sharegpt, import_lpt30k])
def test_no_import_leads_out_of_its_images(folder: Path, load: Callable[..., Imported]):
    good = json.loads(SEEDS["sharegpt json"][0])[0]
    rows = [good | {"images": [name], "example_id": name, "cot_type": "x"} for name in names(folder)]
    (folder / "set.jsonl").write_bytes(lines(*rows))
    run = load(folder / "set.jsonl", folder.parent / "run", folder).run
    assert not list(run.records("captions", Caption))
    told = [drop.reason for drop in run.records("drops", Drop)]
    assert len(told) == len(rows)
    assert set(told) <= {"path-outside", "missing-image"}  # an example's id gets the ending of an image


def test_no_recorded_caption_leads_out_of_its_images(folder: Path):
    captions = [
        {"example_id": f"train_{i}", "image_file": name, "description": "x"} for i, name in enumerate(names(folder))
    ]
    for name, data in (PUBLISHED | {CAPTIONS: lines(*captions)}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    run = import_published(folder, folder.parent / "run", folder)
    assert not list(run.records("captions", Caption))
    told = [drop.reason for drop in run.records("drops", Drop) if drop.stage == "captions"]
    assert told == ["path-outside"] * len(captions)


def odd(path: Path, kind: str) -> None:
    """Put what is no file into a place where one is looked for."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        here = Path.cwd()
        os.chdir(path.parent)  # the path of a socket may have 100 characters only
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
        os.chdir(here)
    elif kind == "circle":
        path.symlink_to(path.name)
    else:
        path.mkdir()


KINDS = ("pipe", "device", "socket", "circle", "folder")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", ["jsonl", "csv", "parquet", "docci"])
def test_a_list_that_is_no_file_is_refused(folder: Path, source: str, kind: str):
    odd(folder / "list.parquet", kind)
    with pytest.raises(LptError):
        take(source, folder / "list.parquet")


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_or_caption_that_is_no_file_is_a_drop(folder: Path, kind: str):
    (folder / "link.jpg").unlink()
    (folder / "folder").unlink()
    (folder / "a.txt").write_text("A cap.")
    odd(folder / "b.jpg", kind)
    (folder / "b.txt").write_text("Another.")
    (folder / "c.jpg").write_bytes(picture())
    odd(folder / "c.txt", kind)
    items = take("folder", folder)
    assert [caption.path for caption in kept(items)] == ["a.jpg"]
    assert reasons(items)


@pytest.mark.parametrize("kind", KINDS)
def test_a_shard_that_is_no_file_is_a_drop(folder: Path, kind: str):
    (folder / "1.parquet").write_bytes(SEEDS["captions parquet"][1])
    odd(folder / "2.parquet", kind)
    items = take("parquet", folder)
    assert len(kept(items)) == 1
    assert reasons(items) == ["unreadable-shard"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recording_that_is_no_file_is_refused(folder: Path, name: str, kind: str):
    for file, data in PUBLISHED.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(data)
    odd(folder / name, kind)
    with pytest.raises(LptError):
        import_published(folder, folder.parent / "run", folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_that_is_no_file_is_passed_over(folder: Path, kind: str):
    odd(folder / "set.json", kind)
    odd(folder / "dataset_info.json", kind)
    with pytest.raises(SourceError):
        files(folder)
    with pytest.raises(SourceError):
        import_sharegpt(folder / "set.json", folder.parent / "run")


def test_a_recipe_may_be_a_device_but_not_one_without_an_end(tmp_path: Path):
    assert Recipe.load("/dev/null") == Recipe.parse("")
    with pytest.raises(RecipeError, match="no recipe"):
        Recipe.load("/dev/zero")
    with pytest.raises(RecipeError, match="cannot be read"):
        Recipe.load("a\0b")


def test_the_questions_of_the_recordings_may_have_a_mark_of_order(folder: Path):
    for file, data in PUBLISHED.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"\xef\xbb\xbf" * (file == QUESTIONS) + data)
    (folder / "train_0.jpg").write_bytes(picture())
    assert import_published(folder, folder.parent / "run", folder).table("questions").collect().height == 1
