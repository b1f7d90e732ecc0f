"""Each source, as its users have it on their disks; and what a source that cannot be read at all says."""

import os
from pathlib import Path
from typing import Any

import pytest

from lpt import world
from lpt.captions import scenes as rendering
from lpt.errors import SourceError, UserError
from lpt.records import Caption, Drop
from tests.captions.files import encoded, kept, listed, noisy, plain, put, reasons, take

A, B, C, D = (encoded(noisy(seed=seed), "JPEG") for seed in range(4))


# --- folder ------------------------------------------------------------------------------------------------------


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path: Path):
    for name, data in (("b/two.png", A), ("a.JPG", B), ("b.jpeg", C), ("b/one.webp", D)):
        put(tmp_path, name, data, f"This is {name}.")
    captions = kept(take("folder", tmp_path))
    assert [(c.path, c.text) for c in captions] == [
        (name, f"This is {name}.") for name in ("a.JPG", "b.jpeg", "b/one.webp", "b/two.png")
    ]
    assert [c.source_id for c in captions] == [c.path for c in captions]
    assert {c.source for c in captions} == {"folder"}


@pytest.mark.parametrize(
    ("json", "outcome"),
    [
        ('"A plain text."', "A plain text."),
        ('{"caption": "One.", "text": "Three."}', "One."),
        ('{"description": "Two.", "text": "Three."}', "Two."),
        ('\ufeff{"text": "Three.", "caption": null}', "Three."),
        ('{"title": "Four."}', "missing-caption"),
        ('{"caption": ["One."]}', "caption-not-text"),
        ("[1, 2]", "caption-not-text"),
        ("null", "caption-not-text"),
        ('{"caption": "One."', "malformed-json"),
        ("[" * 50_000, "malformed-json"),
        ("", "malformed-json"),
        ('{"caption": " "}', "empty-caption"),
    ],
)
def test_a_json_beside_an_image(tmp_path: Path, json: str, outcome: str):
    put(tmp_path, "a.jpg", A, None)
    (tmp_path / "a.json").write_text(json)
    (item,) = take("folder", tmp_path)
    assert (item.text if isinstance(item, Caption) else item.reason) == outcome


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (b"Words.\r\n", "Words."),
        (b"\xef\xbb\xbfWords.", "Words."),
        ("Wörter, 言葉 🙂".encode(), "Wörter, 言葉 🙂"),
        ("Wörter".encode("latin-1"), "not-utf8"),
        ("Words".encode("utf-16"), "not-utf8"),
        (b"", "empty-caption"),
        (b"\n \n", "empty-caption"),
        (b"A\0B", "control-characters"),
        (b"w" * 100_001, "caption-too-large"),
        (b"w" * 100_000, "w" * 100_000),
        (b"w" * 1_000_000, "caption-too-large"),
    ],
)
def test_a_txt_beside_an_image(tmp_path: Path, text: bytes, outcome: str):
    put(tmp_path, "a.jpg", A, None)
    (tmp_path / "a.txt").write_bytes(text)
    (item,) = take("folder", tmp_path)
    assert (item.text if isinstance(item, Caption) else item.reason) == outcome


def test_what_has_no_other_half_is_dropped(tmp_path: Path):
    put(tmp_path, "both.jpg", A)
    put(tmp_path, "sub/image.jpg", B, None)
    (tmp_path / "sub/words.txt").write_text("Of what?")
    (tmp_path / "sub/settings.json").write_text("{}")
    (tmp_path / "sub/program.py").write_text("not ours")
    items = take("folder", tmp_path)
    assert len(kept(items)) == 1
    assert [(i.reason, i.detail) for i in items if isinstance(i, Drop)] == [
        ("missing-caption", "sub/image.jpg: there is no .txt or .json beside it"),
        ("missing-image", "sub/words.txt: there is no image of that name"),
    ]


def test_a_txt_counts_before_a_json_and_serves_two_images(tmp_path: Path):
    put(tmp_path, "a.jpg", A, "The text.")
    put(tmp_path, "a.png", B, None)
    (tmp_path / "a.json").write_text('"The JSON."')
    assert [c.text for c in kept(take("folder", tmp_path))] == ["The text."] * 2


def test_the_caption_of_a_name_in_the_other_unicode_form(tmp_path: Path):
    put(tmp_path, "e\u0301.jpg", A, None)
    (tmp_path / "é.txt").write_text("The same letter.")
    items = take("folder", tmp_path)
    assert [c.text for c in kept(items)] == ["The same letter."]
    assert not reasons(items)


def test_images_and_captions_in_two_folders(tmp_path: Path):
    put(tmp_path / "pictures", "x/a.jpg", A, None)
    (tmp_path / "words/x").mkdir(parents=True)
    (tmp_path / "words/x/a.txt").write_text("From afar.")
    (tmp_path / "words/b.txt").write_text("Of nothing.")
    items = take("folder", tmp_path / "words", images=str(tmp_path / "pictures"))
    assert [(c.path, c.text) for c in kept(items)] == [("x/a.jpg", "From afar.")]
    assert reasons(items) == ["missing-image"]


def test_links_are_not_followed_out_and_hidden_files_are_left_alone(tmp_path: Path):
    put(tmp_path, "outside/a.jpg", A)
    put(tmp_path, "in/b.jpg", B)
    put(tmp_path, "in/.hidden.jpg", C)
    put(tmp_path, "in/.thumbnails/c.jpg", C)
    put(tmp_path, "in/d.jpg", D, None)
    (tmp_path / "in/linked").symlink_to(tmp_path / "outside")
    (tmp_path / "in/a.jpg").symlink_to(tmp_path / "outside/a.jpg")
    (tmp_path / "in/a.txt").write_text("A link.")
    (tmp_path / "in/d.txt").symlink_to(tmp_path / "outside/a.txt")
    items = take("folder", tmp_path / "in")
    assert [c.path for c in kept(items)] == ["b.jpg"]
    assert sorted(reasons(items)) == ["linked-folder", "path-outside", "path-outside"]


def test_what_pillow_cannot_read_is_dropped_and_not_overlooked(tmp_path: Path):
    put(tmp_path, "a.heic", b"\0\0\0\x18ftypheic\0\0\0\0")
    put(tmp_path, "b.jpg", B)
    assert reasons(take("folder", tmp_path)) == ["broken-image"]


def test_a_folder_that_may_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put(tmp_path, "closed/a.jpg", A)
    put(tmp_path, "b.jpg", B)
    scan = os.scandir

    def refuse(path: Any):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    items = take("folder", tmp_path)
    assert [(i.reason, i.detail) for i in items if isinstance(i, Drop)] == [
        ("unreadable-folder", "closed: Permission denied")
    ]
    assert len(kept(items)) == 1


# --- docci -------------------------------------------------------------------------------------------------------

DOCCI = [
    {"split": "train", "example_id": "train_0", "image_file": "train_0.jpg", "description": "A sculpture."},
    {"split": "test", "example_id": "test_0", "image_file": "test_0.jpg", "description": "A row of cattails. "},
    {"split": "train", "example_id": "train_1", "image_file": "train_1.jpg", "description": "A missing one."},
]


@pytest.mark.parametrize("path", [".", "docci_descriptions.jsonlines"])
def test_docci_as_it_is_published(tmp_path: Path, path: str):
    listed(tmp_path, DOCCI, "docci_descriptions.jsonlines")
    put(tmp_path / "images", "train_0.jpg", A, None)
    put(tmp_path / "images", "test_0.jpg", B, None)
    items = take("docci", tmp_path / path)
    assert [(c.source_id, c.path, c.text, c.source) for c in kept(items)] == [
        ("train_0", "train_0.jpg", "A sculpture.", "docci"),
        ("test_0", "test_0.jpg", "A row of cattails.", "docci"),
    ]
    assert [(i.reason, i.detail) for i in items if isinstance(i, Drop)] == [
        ("missing-image", "train_1 (train_1.jpg): there is no such file")
    ]


def test_docci_with_its_images_elsewhere(tmp_path: Path):
    listed(tmp_path, DOCCI[:1], "docci_descriptions.jsonlines")
    put(tmp_path / "elsewhere", "train_0.jpg", A, None)
    (caption,) = kept(take("docci", tmp_path, images="elsewhere"))
    assert caption.path == "train_0.jpg"


# --- scenes ------------------------------------------------------------------------------------------------------


def test_scenes_are_rendered_into_the_runs_images(tmp_path: Path):
    captions = kept(take("scenes", None, base=tmp_path, count=2, style="plain"))
    assert [c.source_id for c in captions] == [name for _, name in world.scenes(2, 0, "plain")]
    assert [c.text for c in captions] == [world.describe(scene) for scene, _ in world.scenes(2, 0, "plain")]
    for caption, (scene, _) in zip(captions, world.scenes(2, 0, "plain"), strict=True):
        assert (tmp_path / "rendered" / caption.path).read_bytes() == world.png(scene)
    assert len(kept(take("scenes", None, base=tmp_path, count=9, limit=1, style="plain"))) == 1


def test_a_scene_is_rendered_once_unless_the_renderer_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rendered: list[int] = []
    png = world.png

    def counted(scene: world.Scene) -> bytes:
        rendered.append(scene.index)
        return png(scene)

    monkeypatch.setattr(world, "png", counted)
    first = take("scenes", None, base=tmp_path, count=2, style="plain")
    put(tmp_path / "rendered", "mine.png", A, None)
    assert take("scenes", None, base=tmp_path, count=3, style="plain")[:2] == first
    assert rendered == [0, 1, 2]
    (tmp_path / "rendered" / rendering._STAMP).write_text("another version's")
    assert take("scenes", None, base=tmp_path, count=2, style="plain") == first
    assert rendered == [0, 1, 2, 0, 1]
    assert (tmp_path / "rendered/mine.png").exists(), "what is not ours stays"


# --- one's own ---------------------------------------------------------------------------------------------------

OWN = """
from lpt.captions.base import Bad, Row

def rows(settings, base):
    root = base / "pictures"
    yield Row("one", root / "a.jpg", "a.jpg", "A picture.")
    yield Bad("two", "too-dark", "two: nothing to be seen")
    yield Row("three", root / "../../etc/passwd", "../../etc/passwd", "A secret.")
    yield Row("four", base / "outside.jpg", "a.jpg", "Another file under that name.")
    yield Row("f\\0ve", root / "a.jpg", "a.jpg", "Words.")
    yield Row("six\\udcff", root / "a.jpg", "a.jpg", "Words.")
    yield Row("seven", root / "a.jpg", "a.jpg", "Half: \\ud800")
    yield Bad("\\udcff", "b\\udcff", "\\udcff" * 5000)

def raising(settings, base):
    yield Row("one", base / "pictures/a.jpg", "a.jpg", "A picture.")
    raise KeyError("caption")

def wrong(settings, base):
    yield ("a.jpg", "A picture.")

def untyped(settings, base):
    yield Row("one", base / "pictures/a.jpg", "a.jpg", None)

def listing(settings, base):
    return [Row("one", base / "pictures/a.jpg", "a.jpg", "A picture.")]

def none(settings, base):
    pass

number = 7
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "source.py").write_text(OWN)
    put(tmp_path, "pictures/a.jpg", A, None)
    put(tmp_path, "outside.jpg", B, None)
    return tmp_path


def test_a_source_of_ones_own(own: Path):
    items = take("source.py:rows", None, base=own, images="pictures")
    (caption,) = kept(items)
    assert (caption.path, caption.source, caption.source_id) == ("a.jpg", "source.py:rows", "one")
    assert reasons(items) == [
        "too-dark", "path-outside", "path-outside", "bad-name", "bad-name", "not-utf8", "b\\udcff"
    ]  # fmt: skip
    for item in items:
        for name in item.__struct_fields__:
            getattr(item, name).encode()  # Parquet takes nothing else
    assert kept(take(f"{own}/source.py:rows", None, base=own, images="pictures")) == [caption], "wherever it lies"


def test_a_source_may_return_a_list(own: Path):
    assert len(take("source.py:listing", None, base=own, images="pictures")) == 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("raising", r"source.py:raising failed: KeyError: 'caption'"),
        ("wrong", r"yielded \('a.jpg', 'A picture.'\); it should yield lpt.captions.base.Row"),
        ("untyped", "yielded Row"),
        ("none", "source.py:none failed: TypeError"),
        ("number", "is not a function"),
        ("row", "has no `row`; did you mean `rows`"),
    ],
)
def test_mistakes_in_it_are_told(own: Path, function: str, message: str):
    with pytest.raises(UserError, match=message):
        take(f"source.py:{function}", None, base=own, images="pictures")


# --- sources that cannot be read at all --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "path", "settings", "message"),
    [
        ("folder", None, {}, "needs captions.path: a folder of images"),
        ("jsonl", None, {}, "needs captions.path: a JSON Lines file"),
        ("docci", None, {}, "needs captions.path: the folder that holds docci_descriptions.jsonlines"),
        ("folder", "nowhere", {}, "there is no .*nowhere"),
        ("folder", "list.jsonl", {}, "not a folder; the source `jsonl` reads a list"),
        ("folder", "void", {}, "there are no images in .*void"),
        ("folder", "words", {}, "there are no images"),
        ("folder", "void", {"images": "nowhere"}, "set captions.images"),
        ("jsonl", "void", {}, "not a file"),
        ("jsonl", "empty.jsonl", {}, "holds no rows"),
        ("jsonl", "array.jsonl", {}, r"JSON array; .*jq -c '.\[\]' array.jsonl"),
        ("jsonl", "utf16.jsonl", {}, "UTF-16: save it as UTF-8"),
        ("jsonl", "list.jsonl", {"images": "nowhere"}, "there is no folder .*nowhere: set captions.images"),
        ("docci", "void", {}, "holds no docci_descriptions.jsonlines"),
        ("docci", "docci", {}, "there is no folder .*images: set captions.images"),
        ("scenes", "void", {}, "take one out"),
        ("foldr", "void", {}, "did you mean `folder`"),
        ("coco", "void", {}, "there are docci, folder, jsonl, csv, parquet, hub, scenes"),
        ("published", "void", {}, "lpt import"),
        ("own.py:rows", None, {}, "set captions.images"),
        ("own.py:rows", "void", {}, "there is no file .*own.py"),
    ],
)
def test_a_source_that_cannot_be_read_says_what_to_do(
    tmp_path: Path, source: str, path: str | None, settings: dict[str, Any], message: str
):
    (tmp_path / "void").mkdir()
    (tmp_path / "words").mkdir()
    (tmp_path / "words/a.txt").write_text("Words.")
    put(tmp_path, "a.jpg", A, None)
    listed(tmp_path, [{"image": "a.jpg", "caption": "A."}])
    (tmp_path / "empty.jsonl").write_text("\n\n")
    (tmp_path / "array.jsonl").write_text('[\n{"image": "a.jpg", "caption": "A."}\n]')
    (tmp_path / "utf16.jsonl").write_bytes('{"image": "a.jpg"}\n'.encode("utf-16"))
    (tmp_path / "docci").mkdir()
    listed(tmp_path / "docci", DOCCI, "docci_descriptions.jsonlines")
    with pytest.raises(UserError, match=message):
        take(source, None if path is None else tmp_path / path, base=tmp_path, **settings)


def test_a_list_that_breaks_off_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put(tmp_path, "a.jpg", A, None)
    path = listed(tmp_path, [{"image": "a.jpg", "caption": "A."}])
    opened = Path.open

    def fail(self: Path, *args: Any, **kwargs: Any):
        if self.suffix == ".jsonl":
            raise OSError(5, "Input/output error")
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(SourceError, match=r"list.jsonl cannot be read: Input/output error"):
        take("jsonl", path)


def test_one_may_bring_a_picture_of_one_color(tmp_path: Path):
    put(tmp_path, "a.png", encoded(plain()))
    assert len(kept(take("folder", tmp_path))) == 1
