"""Rows with their images inside, on their way into Parquet: by row groups, and each file in place when whole.

The schema carries what `datasets` reads types from, so that an image is an image to it. A row group holds each
picture once, however many of its rows show it: rows of one image stand together, and Parquet's dictionaries do
the rest.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lpt.errors import StoreError
from lpt.exports.images import Images, Progress, copy_images
from lpt.store.run import Run

IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
"""An image inside a row, as `datasets` has them."""

_ROWS = 1000
_GROUP_BYTES = 64 << 20
_DICTIONARY_BYTES = 128 << 20


def schema(**columns: pa.DataType) -> pa.Schema:
    """A schema that `datasets` reads as features: `IMAGE` as an image, all else as it is."""
    info = {"info": {"features": {name: _feature(kind) for name, kind in columns.items()}}}
    return pa.schema(list(columns.items()), metadata={"huggingface": json.dumps(info)})


def _feature(kind: pa.DataType) -> Any:
    if kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return [_feature(kind.value_type)]
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    return {"dtype": str(kind), "_type": "Value"}


class _Open:
    """A set that is being written: its rows that wait, and its file."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.size = 0
        self.files: list[tuple[Path, Path]] = []
        self.writer: pq.ParquetWriter | None = None
        self.sink: Any = None


class ParquetFiles:
    """Sets as Parquet files in one folder. An exception in a `with` block leaves what was there as it was."""

    def __init__(
        self,
        folder: Path,
        schema_of: Callable[[str], pa.Schema],
        path_of: Callable[[str, int], str],
        *,
        shard_bytes: int = 1 << 62,
    ) -> None:
        """Nothing is opened yet.

        Args:
            folder: where the files go.
            schema_of: a set's columns, by its name.
            path_of: a set's file within the folder, by its name and the file's number.
            shard_bytes: a file that has grown to this much is closed, and the next one begun.
        """
        self.folder = folder
        self.counts: dict[str, int] = {}
        self._schema_of = schema_of
        self._path_of = path_of
        self._shard_bytes = shard_bytes
        self._sets: dict[str, _Open] = {}

    def __enter__(self) -> "ParquetFiles":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            with self._disk():
                for name, opened in self._sets.items():
                    self._flush(name, opened)
                    self._close(opened)
                for opened in self._sets.values():
                    for part, path in opened.files:
                        part.replace(path)
        except BaseException:
            self._abandon()
            raise

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, by name."""
        return tuple(sorted(path for opened in self._sets.values() for _, path in opened.files))

    def write(self, name: str, row: dict[str, Any]) -> None:
        """Add a row to a set.

        Raises:
            StoreError: the disk would not take it.
        """
        opened = self._sets.setdefault(name, _Open())
        opened.rows.append(row)
        opened.size += _size(row)
        self.counts[name] = self.counts.get(name, 0) + 1
        if len(opened.rows) >= _ROWS or opened.size >= _GROUP_BYTES:
            with self._disk():
                self._flush(name, opened)
                if opened.sink and opened.sink.tell() >= self._shard_bytes:
                    self._close(opened)

    def _flush(self, name: str, opened: _Open) -> None:
        if not opened.rows:
            return
        columns = self._schema_of(name)
        if opened.writer is None:
            path = self.folder / self._path_of(name, len(opened.files))
            part = path.with_name(f".{path.name}.part")
            path.parent.mkdir(parents=True, exist_ok=True)
            opened.files.append((part, path))
            opened.sink = part.open("wb")
            opened.writer = pq.ParquetWriter(
                opened.sink,
                columns,
                compression="zstd",
                dictionary_pagesize_limit=_DICTIONARY_BYTES,
                write_statistics=[field.name for field in columns if field.type == pa.string()],
            )
        opened.writer.write_table(pa.Table.from_pylist(opened.rows, schema=columns))
        opened.rows, opened.size = [], 0

    def _close(self, opened: _Open) -> None:
        if opened.writer is None:
            return
        opened.writer.close()
        opened.sink.flush()
        os.fsync(opened.sink.fileno())
        opened.sink.close()
        opened.writer = opened.sink = None

    def _abandon(self) -> None:
        for opened in self._sets.values():
            with contextlib.suppress(OSError, ValueError, pa.ArrowException):
                if opened.writer is not None:
                    opened.writer.close()
            with contextlib.suppress(OSError):
                if opened.sink is not None:
                    opened.sink.close()
            for part, _ in opened.files:
                part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"the sets in {self.folder} could not be written: {error.strerror or error}"
            ) from error


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_size, value))
    return len(value) if isinstance(value, bytes | str) else 8


Picture = Callable[[str], dict[str, Any]]
"""From an image's reference to what stands in a row."""


@contextlib.contextmanager
def pictures(
    run: Run, out: Path, *tables: str, progress: Progress | None = None
) -> Iterator[tuple[Images, Picture]]:
    """The images of these tables, sized as the recipe says, to be put into rows; kept on the disk only meanwhile.

    Raises:
        UserError: there is not one image file.
        StoreError: the disk failed.
    """
    folder = out / ".images.part"

    @lru_cache(maxsize=1)  # rows of one image stand together
    def picture(reference: str) -> dict[str, Any]:
        try:
            data = (folder / reference).read_bytes()
        except OSError as error:
            raise StoreError(f"{folder / reference} could not be read: {error.strerror or error}") from error
        return {"bytes": data, "path": PurePosixPath(reference).name}

    try:
        yield copy_images(run, folder, tables=tables, progress=progress), picture
    finally:
        shutil.rmtree(folder, ignore_errors=True)
