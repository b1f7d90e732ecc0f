import contextlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lpt.errors import StoreError
from lpt.exports.parquet import ParquetFiles, schema

COLUMNS = schema(text=pa.string())


def files(folder: Path, **how: Any) -> ParquetFiles:
    return ParquetFiles(folder, lambda _: COLUMNS, lambda name, number: f"{name}-{number}.parquet", **how)


def test_files_appear_only_when_all_are_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("lpt.exports.parquet._ROWS", 1)
    with files(tmp_path, shard_bytes=1) as sets:
        sets.write("a", {"text": "one"})
        sets.write("a", {"text": "two"})
        assert not list(tmp_path.glob("*.parquet"))
    assert [pq.read_table(path).to_pylist() for path in sets.paths] == [[{"text": "one"}], [{"text": "two"}]]
    assert sets.counts == {"a": 2}


def test_an_exception_leaves_what_was_there(tmp_path, monkeypatch):
    monkeypatch.setattr("lpt.exports.parquet._ROWS", 1)
    (tmp_path / "a-0.parquet").write_text("old")
    with contextlib.suppress(KeyError), files(tmp_path) as sets:
        sets.write("a", {"text": "one"})
        raise KeyError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a-0.parquet", "old")]


def test_a_disk_that_will_not_take_it_is_a_store_error(tmp_path):
    (tmp_path / "no").write_text("a file")
    with pytest.raises(StoreError, match="could not be written"), files(tmp_path / "no") as sets:
        sets.write("a", {"text": "one"})
    assert (tmp_path / "no").read_text() == "a file"
