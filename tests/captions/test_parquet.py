"""Parquet: paths, bytes and Hugging Face's pair of both; shards, damaged ones too."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lpt.captions.parquet import records
from lpt.errors import SourceError
from lpt.recipe import Recipe
from lpt.records import Drop, digest
from lpt.settings import CaptionSettings
from lpt.store.run import Run
from tests.captions.files import encoded, kept, listed, noisy, plain, put, reasons, take

A, B, C, D = (encoded(noisy(seed=seed), "JPEG") for seed in range(4))


def wrote(path: Path, rows: list[dict[str, Any]], schema: pa.Schema | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, **options)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_images_as_bytes_are_kept_once_under_their_hash(tmp_path: Path):
    png = encoded(plain(), "PNG")
    rows: list[dict[str, Any]] = [
        {"image": A, "caption": "One.", "id": "x"},
        {"image": png, "caption": "Two.", "id": None},
        {"image": A, "caption": "Three.", "id": "z"},
    ]
    captions = kept(take("parquet", wrote(tmp_path / "set.parquet", rows), base=tmp_path))
    a, two = digest("image", A), digest("image", png)
    assert [(c.path, c.text, c.source_id) for c in captions] == [
        (f"{a}.jpg", "One.", "x"),
        (f"{two}.png", "Two.", "row 2"),
        (f"{a}.jpg", "Three.", "z"),
    ]
    assert [c.image for c in captions] == [a, two, a]
    assert contents(tmp_path / "rendered") == {f"{a}.jpg": A, f"{two}.png": png}


def test_the_pair_of_hugging_face_with_bytes_or_a_path(tmp_path: Path):
    put(tmp_path, "pictures/b.jpg", B, None)
    rows: list[dict[str, Any]] = [
        {"image": {"bytes": A, "path": "/home/somebody/../else/a.jpg"}, "caption": "One."},
        {"image": {"bytes": None, "path": "pictures/b.jpg"}, "caption": "Two."},
        {"image": {"bytes": None, "path": None}, "caption": "Three."},
        {"image": {"bytes": A, "path": "a.jpg"}, "caption": "Four."},
        {"image": None, "caption": "Five."},
    ]
    items = take("parquet", wrote(tmp_path / "set.parquet", rows), base=tmp_path)
    assert [(c.path, c.source_id) for c in kept(items)] == [
        (f"{digest('image', A)}.jpg", "a.jpg"),
        (f"{digest('image', B)}.jpg", "pictures/b.jpg"),
        (f"{digest('image', A)}.jpg", "a.jpg#2"),
    ]
    assert reasons(items) == ["missing-image-name"] * 2


def test_paths_are_linked_and_say_the_same_as_a_list_does(tmp_path: Path):
    for name, data in (("a.jpg", A), ("sub/b.jpg", B)):
        put(tmp_path, name, data, None)
    rows = [{"image": "a.jpg", "caption": "One."}, {"image": "sub/b.jpg", "caption": "Two."}]
    ours = kept(take("parquet", wrote(tmp_path / "set.parquet", rows), base=tmp_path))
    theirs = kept(take("jsonl", listed(tmp_path, rows), base=tmp_path))
    assert [(c.id, c.image, c.text, c.source_id) for c in ours] == [
        (c.id, c.image, c.text, c.source_id) for c in theirs
    ]
    assert (tmp_path / "a.jpg").samefile(tmp_path / "rendered" / ours[0].path)
    assert kept(take("parquet", tmp_path / "set.parquet", base=tmp_path)) == ours


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", "empty-image"),
        (b"not an image at all", "not-an-image"),
        (A[:300], "broken-image"),
    ],
)
def test_bytes_that_are_no_picture_are_a_drop_and_are_not_kept(tmp_path: Path, image: bytes, reason: str):
    items = take("parquet", wrote(tmp_path / "set.parquet", [{"image": image, "caption": "?"}]), base=tmp_path)
    assert reasons(items) == [reason]
    assert not (tmp_path / "rendered").exists()


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("/etc/passwd", "path-outside"),
        ("../a.jpg", "path-outside"),
        ("https://example.org/a.jpg", "not-a-path"),
        ("data:image/png;base64,AAAA", "not-a-path"),
        ("link.jpg", "path-outside"),
        ("nowhere.jpg", "missing-image"),
    ],
)
def test_a_path_that_leads_out_is_never_followed(tmp_path: Path, image: str, reason: str):
    put(tmp_path, "a.jpg", A, None)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link.jpg").symlink_to(tmp_path / "a.jpg")
    items = take("parquet", wrote(tmp_path / "in/set.parquet", [{"image": image, "caption": "?"}]), base=tmp_path)
    assert reasons(items) == [reason]


def test_a_folder_of_shards_is_read_in_the_order_of_their_paths_and_bad_ones_are_drops(tmp_path: Path):
    place = tmp_path / "set"
    wrote(place / "b/0.parquet", [{"image": C, "caption": "Three."}])
    wrote(place / "a-1.parquet", [{"image": B, "caption": "Two."}])
    wrote(place / "a-0.parquet", [{"image": A, "caption": "One."}])
    wrote(place / "a-2.parquet", [{"picture": A, "caption": "One."}] * 7)
    wrote(place / ".hidden/x.parquet", [{"image": D, "caption": "Hidden."}])
    (place / "a-3.parquet").write_bytes(b"PAR1 and nothing else")
    items = take("parquet", place, base=tmp_path)
    assert [c.text for c in kept(items)] == ["One.", "Two.", "Three."]
    assert [(d.reason, d.detail) for d in items if isinstance(d, Drop)] == [
        ("missing-columns", "a-2.parquet: it lacks a column; 7 rows are left out"),
        ("unreadable-shard", "a-3.parquet: it is no Parquet file"),
    ]


def test_a_shard_that_is_damaged_in_the_middle(tmp_path: Path):
    rows = [{"image": f"{i}.jpg", "caption": f"{i} " * 400} for i in range(4000)]
    path = wrote(tmp_path / "set.parquet", rows, row_group_size=1000, compression="zstd", use_dictionary=False)
    group = pq.ParquetFile(path).metadata.row_group(2).column(1)
    start = group.data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + group.total_compressed_size] = b"\xff" * group.total_compressed_size
    path.write_bytes(data)
    found = list(records(path, ("image", "caption"), (), "captions"))
    assert [place for place, _ in found] == [f"row {n}" for n in (*range(1, 2002), *range(3001, 4001))]
    (last,) = [row for _, row in found if not isinstance(row, dict)]
    assert (last.reason, last.detail) == (
        "unreadable-shard",
        "row 2001: the file is damaged here; 1,000 rows are left out",
    )


def test_a_text_that_is_not_utf8_costs_its_own_row(tmp_path: Path):
    captions = pa.array([b"Good.", b"W\xf6rter", b"Also good."], pa.binary()).view(pa.string())
    table = pa.table({"image": pa.array([A, B, C], pa.binary()), "caption": captions})
    pq.write_table(table, tmp_path / "set.parquet")
    items = take("parquet", tmp_path / "set.parquet", base=tmp_path)
    assert [c.text for c in kept(items)] == ["Good.", "Also good."]
    assert reasons(items) == ["not-utf8"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.parquet", "captions.path: there is no"),
        ("text.parquet", "cannot be read as Parquet"),
        ("void", "holds no .parquet file"),
        ("named.parquet", r"no column `image`, `caption`; there are: `picture`, `words`"),
        ("empty.parquet", "holds no rows"),
    ],
)
def test_what_cannot_be_read_at_all_says_what_to_do(tmp_path: Path, name: str, message: str):
    (tmp_path / "void").mkdir()
    (tmp_path / "text.parquet").write_text("image,caption\n")
    wrote(tmp_path / "named.parquet", [{"picture": A, "words": "A."}])
    wrote(tmp_path / "empty.parquet", [], pa.schema([("image", pa.binary()), ("caption", pa.string())]))
    with pytest.raises(SourceError, match=message):
        take("parquet", tmp_path / name, base=tmp_path)


def test_columns_have_the_names_that_the_recipe_says_and_only_they_are_read(tmp_path: Path):
    path = wrote(tmp_path / "set.parquet", [{"jpg": A, "txt": "A.", "huge": b"x" * 1000}])
    (caption,) = kept(take("parquet", path, base=tmp_path, columns={"image": "jpg", "caption": "txt"}))
    assert caption.text == "A."
    (row,) = [row for _, row in records(path, ("jpg", "txt"), ("id",), "captions")]
    assert isinstance(row, dict)
    assert set(row) == {"jpg", "txt"}


def test_a_large_file_is_never_in_memory_as_a_whole(tmp_path: Path):
    random = np.random.default_rng(0)
    path = tmp_path / "set.parquet"
    schema = pa.schema([("image", pa.binary()), ("caption", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for _ in range(20):
            rows = [{"image": random.bytes(50_000), "caption": "A."} for _ in range(64)]
            writer.write_table(pa.Table.from_pylist(rows, schema))
    size = path.stat().st_size
    assert size > 60_000_000
    before = pa.total_allocated_bytes()
    most = 0
    tracemalloc.start()
    for _ in records(path, ("image", "caption"), (), "captions"):
        most = max(most, pa.total_allocated_bytes() - before)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most + peak < size / 4


def test_a_run_finds_the_images_that_it_keeps(tmp_path: Path):
    wrote(tmp_path / "set.parquet", [{"image": A, "caption": "A."}])
    captions = CaptionSettings(source="parquet", path=str(tmp_path / "set.parquet"), images=str(tmp_path))
    run = Run.create(tmp_path / "run", Recipe(captions=captions))
    assert run.images == tmp_path / "run/images"
