"""The same records give the same bytes, and a file is there whole or not at all."""

import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpt.errors import StoreError
from lpt.records import Caption, Drop, Pair, Thought
from lpt.store import tables
from lpt.store.tables import TABLES, TableWriter, empty_frame, read_table, scan_table, schema, write_table

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)


def anything(hint: Any) -> st.SearchStrategy[Any]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin is tuple:
        return st.lists(text, max_size=4).map(tuple)
    if args:
        return st.one_of(*(st.none() if arg is type(None) else anything(arg) for arg in args))
    strategies: dict[Any, st.SearchStrategy[Any]] = {
        str: text,
        int: st.integers(-(2**63), 2**63 - 1),
        bool: st.booleans(),
        float: st.floats(allow_nan=False),
    }
    return strategies[hint]


def records(kind: type[msgspec.Struct]) -> st.SearchStrategy[list[Any]]:
    fields = {name: anything(hint) for name, hint in typing.get_type_hints(kind).items()}
    return st.lists(st.builds(kind, **fields), max_size=6)


def drops(count: int) -> list[Drop]:
    return [Drop.make("think", f"record {i}", "image", "unparsed", "x" * (i % 50)) for i in range(count)]


@pytest.mark.parametrize("kind", TABLES.values(), ids=list(TABLES))
@settings(max_examples=30)
@given(data=st.data())
def test_records_come_back_as_they_were(
    kind: type[msgspec.Struct], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    written = data.draw(records(kind))
    path = tmp_path_factory.getbasetemp() / f"{kind.__name__}.parquet"
    assert write_table(path, kind, written) == len(written)
    assert list(read_table(path, kind)) == written
    assert scan_table(path, kind).collect().height == len(written)


@pytest.mark.parametrize("kind", TABLES.values(), ids=list(TABLES))
def test_the_columns_are_the_fields(kind: type[msgspec.Struct]) -> None:
    assert schema(kind).names == [field.name for field in msgspec.structs.fields(kind)]
    assert empty_frame(kind).columns == schema(kind).names
    assert empty_frame(kind).is_empty()


def test_only_what_may_be_none_may_be_null() -> None:
    assert [field.name for field in schema(Thought) if field.nullable] == ["answer", "letter", "method", "reply"]


@settings(max_examples=50)
@given(cuts=st.lists(st.integers(0, 50), max_size=12))
def test_the_same_records_give_the_same_bytes_however_they_arrive(
    cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    written = drops(50)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_ROW_GROUP", 7)
        with TableWriter(folder / "cut.parquet", Drop) as writer:
            last = 0
            for cut in [*sorted(cuts), 50]:
                writer.write(written[last:cut])
                last = cut
        with TableWriter(folder / "whole.parquet", Drop) as writer:
            writer.write(iter(written))
    assert (folder / "cut.parquet").read_bytes() == (folder / "whole.parquet").read_bytes()
    assert pl.scan_parquet(folder / "cut.parquet").collect().height == 50


def test_memory_is_bounded_by_a_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_ROW_GROUP", 10)
    with TableWriter(tmp_path / "t.parquet", Drop) as writer:

        def watched() -> Any:
            for drop in drops(35):
                assert writer.rows >= drop_count[0] - 10
                drop_count[0] += 1
                yield drop

        drop_count = [0]
        writer.write(watched())
    assert writer.rows == 35


def test_frames_and_records_can_follow_each_other(tmp_path: Path) -> None:
    written = drops(30)
    write_table(tmp_path / "half.parquet", Drop, written[10:20])
    frame = pl.read_parquet(tmp_path / "half.parquet")
    with TableWriter(tmp_path / "t.parquet", Drop) as writer:
        writer.write(written[:10])
        writer.write_frame(frame.select(reversed(frame.columns)).with_columns(extra=1))
        writer.write(written[20:])
    assert list(read_table(tmp_path / "t.parquet", Drop)) == written
    assert writer.rows == 30


def broken() -> Iterator[Drop]:
    yield from drops(9000)
    raise KeyError


def test_an_exception_leaves_no_file_and_the_old_one_unharmed(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with pytest.raises(KeyError):
        write_table(path, Drop, broken())
    assert list(tmp_path.iterdir()) == []

    write_table(path, Drop, drops(3))
    before = path.read_bytes()
    with pytest.raises(KeyError):
        write_table(path, Drop, broken())
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_a_record_that_cannot_be_written_leaves_no_file_either(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with pytest.raises(UnicodeEncodeError):
        write_table(path, Drop, [Drop.make("think", "r", "i", "unparsed", "\ud800")])
    assert list(tmp_path.iterdir()) == []


def test_until_it_is_whole_a_file_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with TableWriter(path, Drop) as writer:
        writer.write(drops(20000))
        assert not path.exists()
    assert path.exists()


def whole(path: Path) -> bytes:
    write_table(path, Drop, drops(100))
    return path.read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"PAR1",
        lambda data: b"not a table at all" * 10,
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data[:20] + bytes(len(data) - 20),
    ],
)
def test_a_damaged_file_is_told(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(damage(whole(path)))
    with pytest.raises(StoreError, match=r"t\.parquet cannot be read .*: the command that made it writes it anew"):
        list(read_table(path, Drop))
    with pytest.raises(StoreError, match="cannot be read"):
        scan_table(path, Drop)


def test_a_table_of_something_else_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    whole(path)
    with pytest.raises(StoreError, match="cannot be read"):
        list(read_table(path, Pair))
    with pytest.raises(StoreError, match="it has no path, source, source_id, split, text"):
        scan_table(path, Caption)


def test_a_disk_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="could not be written"):
        TableWriter(tmp_path / "file" / "t.parquet", Drop)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    path = tmp_path / "t.parquet"
    for count in (3, 9000):  # met at the end, or on the way
        with pytest.raises(StoreError, match=r"t\.parquet could not be written \(No space left on device\)"):
            write_table(path, Drop, drops(count))
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
