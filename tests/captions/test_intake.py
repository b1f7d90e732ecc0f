"""Every row of a source comes out once, in its order: as a caption, or as a drop that says why not."""

import itertools
import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.captions import examine, intake
from lpt.captions.base import root_of
from lpt.captions.lines import MAX_LINE
from lpt.captions.prepare import prepare
from lpt.errors import SourceError
from lpt.recipe import Recipe
from lpt.records import Caption, Drop, digest, split_of
from lpt.settings import CaptionSettings
from lpt.store.run import Run
from tests.captions.files import encoded, kept, listed, noisy, plain, put, reasons, take

A, B, C = (encoded(noisy(seed=seed), "JPEG") for seed in range(3))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with three images and no captions."""
    for name, data in (("a.jpg", A), ("b.jpg", B), ("sub/c.jpg", C)):
        put(tmp_path, name, data, None)
    return tmp_path


def rows(folder: Path, *given: Any, **settings: Any) -> list[Caption | Drop]:
    return take("jsonl", listed(folder, given), base=folder, **settings)


def test_a_caption_says_what_and_from_where(images: Path):
    (caption,) = kept(rows(images, {"image": "sub/c.jpg", "caption": " A view. \r\nOf a hill.\n", "id": "c1"}))
    assert caption == Caption.make(
        image=digest("image", C),
        path="sub/c.jpg",
        text="A view. \nOf a hill.",
        source="jsonl",
        source_id="c1",
        seed=0,
        validation=0.1,
    )
    assert caption.split == split_of(caption.image, 0, 0.1)


def row(**fields: Any) -> dict[str, Any]:
    return {"image": "a.jpg", "caption": "A picture.", **fields}


BAD: dict[str, tuple[Any, str]] = {
    "no JSON": (b'{"image": "a.jpg", ', "malformed-json"),
    "NaN": (b'{"image": "a.jpg", "caption": NaN}', "malformed-json"),
    "half a surrogate": (b'{"image": "a.jpg", "caption": "\\ud800 "}', "malformed-json"),
    "deep": (b"[1," * 50_000, "malformed-json"),
    "a list": (b'["a.jpg", "A picture."]', "not-an-object"),
    "a number": (b"7", "not-an-object"),
    "Latin-1": ('{"image": "a.jpg", "caption": "déjà"}'.encode("latin-1"), "not-utf8"),
    "a line without end": (b" " * (MAX_LINE + 5), "line-too-long"),
    "no image": ({"caption": "A picture."}, "missing-image-name"),
    "image null": (row(image=None), "missing-image-name"),
    "image a number": (row(image=7), "missing-image-name"),
    "image empty": (row(image=" "), "missing-image-name"),
    "image with NUL": (row(image="a\0.jpg"), "missing-image-name"),
    "no caption": ({"image": "a.jpg"}, "missing-caption"),
    "caption null": (row(caption=None), "missing-caption"),
    "caption a list": (row(caption=["A", "picture"]), "caption-not-text"),
    "caption a number": (row(caption=7), "caption-not-text"),
    "caption empty": (row(caption=""), "empty-caption"),
    "caption white": (row(caption=" \n\t\u2003"), "empty-caption"),
    "caption of nothing": (row(caption="\u200b\ufeff"), "empty-caption"),
    "caption with NUL": (row(caption="A\0picture."), "control-characters"),
    "caption with escapes": (row(caption="A \x1b[31mred\x1b[0m picture."), "control-characters"),
    "caption without end": (row(caption="word " * 20_001), "caption-too-large"),
    "id a list": (row(id=[1]), "bad-id"),
    "id a truth": (row(id=True), "bad-id"),
    "id empty": (row(id=""), "bad-id"),
    "a URL": (row(image="https://example.org/a.jpg"), "not-a-path"),
    "data": (row(image="data:image/png;base64,AAAA"), "not-a-path"),
    "absolute": (row(image="/etc/passwd"), "path-outside"),
    "up": (row(image="../a.jpg"), "path-outside"),
    "down and up": (row(image="sub/../../a.jpg"), "path-outside"),
    "up and down again": (row(image="sub/../a.jpg"), "path-outside"),
    "up the other way": (row(image="..\\a.jpg"), "path-outside"),
    "not there": (row(image="z.jpg"), "missing-image"),
    "under a file": (row(image="a.jpg/b.jpg"), "missing-image"),
    "a folder": (row(image="sub"), "unreadable-image"),
    "the folder itself": (row(image="."), "path-outside"),
    "very long": (row(image="x" * 5_000), "unreadable-image"),
    "link out": (row(image="out.jpg"), "path-outside"),
    "folder link out": (row(image="outer/secret.jpg"), "path-outside"),
    "link to itself": (row(image="loop.jpg"), "unreadable-image"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_row_is_a_drop_with_its_reason(tmp_path: Path, kind: str):
    images = tmp_path / "images"
    for name, data in (("a.jpg", A), ("b.jpg", B), ("sub/c.jpg", C)):
        put(images, name, data, None)
    put(tmp_path, "secrets/secret.jpg", encoded(plain()))
    (images / "out.jpg").symlink_to(tmp_path / "secrets/secret.jpg")
    (images / "outer").symlink_to(tmp_path / "secrets")
    (images / "loop.jpg").symlink_to(images / "loop.jpg")
    put(tmp_path, "a.jpg", A)  # what ".." would reach
    bad, reason = BAD[kind]
    items = rows(images, row(id="before", image="b.jpg"), bad, row(id="after", image="sub/c.jpg"))
    assert [item.reason if isinstance(item, Drop) else item.source_id for item in items] == [
        "before",
        reason,
        "after",
    ]
    (drop,) = [item for item in items if isinstance(item, Drop)]
    assert str(tmp_path) not in drop.detail
    assert len(drop.detail) < 500
    assert drop.stage == "captions"
    if "malformed" in reason or "line" in reason:
        assert drop.detail.startswith("line 2: ")


def test_a_duplicate_id_is_dropped_and_so_is_the_same_caption_of_the_same_image(images: Path):
    put(images, "copy.jpg", A, None)
    items = rows(
        images,
        row(id="1"),
        row(id="1", image="b.jpg"),
        row(id="2"),
        row(id="3", image="copy.jpg", caption="A picture.\n"),
        row(id="4", caption="The same picture, in other words."),
        row(id="2", image="b.jpg"),
    )
    outcome = [item.reason if isinstance(item, Drop) else item.source_id for item in items]
    assert outcome == ["1", "duplicate-id", "duplicate", "duplicate", "4", "2"]
    captions = {caption.id for caption in kept(items)}
    # A drop of this stage never points at a caption that was kept: it would count as lost.
    assert not captions & {item.record for item in items if isinstance(item, Drop)}
    assert len({item.id for item in items}) == len(items)


def test_rows_without_an_id_go_by_their_image(images: Path):
    items = rows(images, row(), row(caption="Another."), row(image="b.jpg"), row(id=7, image="sub/c.jpg"))
    assert [caption.source_id for caption in kept(items)] == ["a.jpg", "a.jpg#2", "b.jpg", "7"]


@pytest.mark.parametrize("image", ["./a.jpg", "sub//../../{root}/a.jpg", "{root}/a.jpg", ".//a.jpg"])
def test_roundabout_paths(images: Path, image: str):
    items = rows(images, row(image=image.format(root=images)))
    if ".." in image:
        assert reasons(items) == ["path-outside"]
    else:
        assert [caption.path for caption in kept(items)] == ["a.jpg"]


def test_the_folder_may_itself_be_a_link(images: Path, tmp_path_factory: pytest.TempPathFactory):
    link = tmp_path_factory.mktemp("elsewhere") / "link"
    link.symlink_to(images)
    (images / "inner.jpg").symlink_to(images / "a.jpg")
    items = rows(link, row(), row(image="inner.jpg", caption="By a link inside."), row(image=f"{images}/b.jpg"))
    assert [caption.path for caption in kept(items)] == ["a.jpg", "inner.jpg", "b.jpg"]


STRANGE = (
    "a\nb.jpg",
    "100%25 of it.jpg",
    "e\u0301te\u0301.jpg",
    "été.jpg",
    "a\\b.jpg",
    " a .jpg",
    "-rf.jpg",
    "x" * 251 + ".jpg",
    "#1?x=y.jpg",
    "\u202egpj.exe",
)


@pytest.mark.parametrize("name", STRANGE)
def test_strange_names_are_names(tmp_path: Path, name: str):
    put(tmp_path, name, A, None)
    (caption,) = kept(rows(tmp_path, row(image=name)))
    assert caption.path == name
    assert prepare(tmp_path / caption.path, caption.image, CaptionSettings()).width == 64


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_the_same_letters_in_another_encoding_are_found(tmp_path: Path, form: Any):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    name = unicodedata.normalize(form, "sub/été.jpg")
    put(tmp_path, name, A, None)
    (caption,) = kept(rows(tmp_path, row(image=unicodedata.normalize(other, name))))  # type: ignore[arg-type]
    assert caption.path == name, "as it is on the disk"


def test_a_list_from_windows(images: Path):
    lines = b'\xef\xbb\xbf{"image": "sub\\\\c.jpg", "caption": "A\\r\\npicture."}\r\n\r\n'
    lines += b'{"image":"a.jpg","caption":"B"}'
    path = images / "list.jsonl"
    path.write_bytes(lines)
    assert [(c.path, c.text) for c in kept(take("jsonl", path))] == [("sub/c.jpg", "A\npicture."), ("a.jpg", "B")]


def test_a_limit_takes_from_the_start_and_reads_no_further(images: Path):
    given = [row(id=str(number), caption=f"Number {number}.") for number in range(100)]
    path = listed(images, given)
    for limit, count, taken in ((None, None, 100), (3, None, 3), (None, 4, 4), (3, 4, 3), (5, 4, 4)):
        items = take("jsonl", path, limit=limit, count=count)
        assert [caption.source_id for caption in kept(items)] == [str(n) for n in range(taken)]


ENDLESS = """
from itertools import count
from lpt.captions.base import Row

def endless(settings, base):
    for n in count(1):
        (base / "pulled").write_text(str(n))
        yield Row(str(n), base / "a.jpg", "a.jpg", f"Number {n}.")
"""


def test_it_streams(images: Path):
    path = images / "own.py"
    path.write_text(ENDLESS)
    settings = CaptionSettings(source=f"{path}:endless", images=str(images))
    items = intake.read(settings, base=images, run_images=images, seed=0, validation=0)
    first = list(itertools.islice(items, 10))
    assert [caption.source_id for caption in kept(first)] == [str(n) for n in range(1, 11)]
    assert int((images / "pulled").read_text()) < 100
    items.close()  # type: ignore[attr-defined]


def test_the_order_is_the_sources_however_long_each_takes(tmp_path: Path):
    given = []
    for number in range(40):
        side = 900 if number % 7 == 0 else 16
        put(tmp_path, f"{number}.png", encoded(noisy((side, side), number)), None)
        given.append(row(image=f"{number}.png"))
    assert [caption.path for caption in kept(rows(tmp_path, *given))] == [f"{number}.png" for number in range(40)]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)
names = st.sampled_from(["a.jpg", "b.jpg", "sub/c.jpg", "../a.jpg", "/etc/passwd", "loop", "z.jpg", "sub"])
some_rows = st.fixed_dictionaries(
    {}, optional={"image": names | values, "caption": st.text() | values, "id": values}
)
some_lines = st.one_of(
    some_rows.map(lambda row: json.dumps(row).encode()),
    st.binary(max_size=60),
    values.map(lambda value: json.dumps(value).encode()),
)


@given(st.lists(some_lines, max_size=8))
def test_any_lines(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]):
    folder = tmp_path_factory.getbasetemp() / "any-lines"
    if not folder.exists():
        for name, data in (("a.jpg", A), ("b.jpg", B), ("sub/c.jpg", C)):
            put(folder, name, data, None)
        (folder / "loop").symlink_to("loop")
    path = folder / "list.jsonl"
    path.write_bytes(b"\n".join(lines))
    made = sum(1 for line in path.read_bytes().split(b"\n") if line.strip())
    first = lines[0].strip() if lines else b""
    if not made or first.startswith((b"[", b"\xff\xfe", b"\xfe\xff")):
        with pytest.raises(SourceError):
            take("jsonl", path)
        return
    items = take("jsonl", path)
    assert len(items) == made, "made = kept + dropped"
    for item in items:
        writable(item)
        assert not isinstance(item, Caption) or (item.text == item.text.strip() and item.text)
    assert len({item.id for item in items}) == made


def writable(item: Caption | Drop) -> None:
    for name in item.__struct_fields__:
        getattr(item, name).encode()  # Parquet takes nothing else


@pytest.mark.parametrize("links", [False, True])
@pytest.mark.parametrize("source", ["docci", "folder", "jsonl", "scenes"])
def test_paths_are_relative_to_what_a_run_calls_its_images(tmp_path: Path, source: str, links: bool):
    images = tmp_path / "data/images"
    put(images, "a.jpg", A)
    listed(tmp_path / "data", [{"image": "images/a.jpg", "caption": "A."}])
    docci = {"example_id": "1", "image_file": "a.jpg", "description": "A."}
    listed(tmp_path / "data", [docci], "docci_descriptions.jsonlines")
    path = {"docci": "data", "folder": "data", "jsonl": "data/list.jsonl", "scenes": None}[source]
    elsewhere = "data" if links and source != "docci" else None
    settings = CaptionSettings(source=source, path=path, images=elsewhere, count=1)
    recipe = Recipe(captions=settings).located(tmp_path)
    run = Run.create(tmp_path / "run", recipe)
    items = intake.read(recipe.captions, base=run.path, run_images=run.images, seed=0, validation=0)
    (caption,) = kept(list(items))
    assert (run.images / caption.path).is_file()
    assert root_of(recipe.captions, run.path, run.images) == run.images


def test_two_threads_say_the_same_as_one(images: Path, monkeypatch: pytest.MonkeyPatch):
    given = [row(id=str(n), image=["a.jpg", "b.jpg", "z.jpg"][n % 3], caption=f"{n // 4}") for n in range(60)]
    several = rows(images, *given)
    monkeypatch.setattr(examine, "_MAX_THREADS", 1)
    assert rows(images, *given) == several
    assert {"missing-image", "duplicate"} == set(reasons(several))


def test_a_name_that_is_not_utf8_is_told_in_letters(tmp_path: Path):
    put(tmp_path, "a.jpg", A)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")).write_bytes(B)
    items = take("folder", tmp_path)
    assert reasons(items) == ["bad-name"]
    (drop,) = [item for item in items if isinstance(item, Drop)]
    assert drop.detail == "\\udcff.jpg: the name is not UTF-8"
    assert len(kept(items)) == 1
