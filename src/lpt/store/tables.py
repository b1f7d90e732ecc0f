"""Tables: records as Parquet, one file a kind, written a row group at a time and put in place whole.

A table is ordered by image hash and, within an image, as the journey tells it. The same records give the same
bytes.
"""

import contextlib
import os
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from lpt.errors import StoreError
from lpt.records import Caption, Drop, Example, Judgement, LongThought, Pair, Question, Thought
from lpt.store import manifest

Record = TypeVar("Record", bound=msgspec.Struct)

TABLES: dict[str, type[msgspec.Struct]] = {
    "captions": Caption,
    "questions": Question,
    "thoughts": Thought,
    "long_thoughts": LongThought,
    "drops": Drop,
    "judgements": Judgement,
    "sft": Example,
    "preferences": Pair,
}

_ROW_GROUP = 2048
_ARROW: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    bool: pa.bool_(),
    float: pa.float64(),
    tuple: pa.list_(pa.string()),
}


def schema(kind: type[msgspec.Struct]) -> pa.Schema:
    """The Arrow schema of a record type, derived from its fields."""
    return pa.schema([_field(name, hint) for name, hint in typing.get_type_hints(kind).items()])


def _field(name: str, hint: Any) -> pa.Field:
    nullable = type(None) in typing.get_args(hint)
    if nullable:
        (hint,) = (arg for arg in typing.get_args(hint) if arg is not type(None))
    if typing.get_origin(hint) is typing.Literal:
        hint = str
    return pa.field(name, _ARROW[typing.get_origin(hint) or hint], nullable=nullable)


class TableWriter:
    """Writes records of one kind to a Parquet file, which appears under its name only when it is whole.

    Memory is bounded by one row group. An exception on the way leaves no new file and no old one harmed.
    """

    def __init__(self, path: Path, kind: type[msgspec.Struct], sort: tuple[str, ...] = ()) -> None:
        """Begin one.

        Args:
            path: where it is to be.
            kind: of which records.
            sort: put it into this order when all of it is there; all of it is in memory then.
        """
        self.path = path
        self.rows = 0
        self.of: tuple[str, ...] = ()
        self._kind = kind
        self._sort = sort
        self._schema = schema(kind)
        self._columns = self._schema.names
        self._buffer: list[msgspec.Struct] = []
        self._waiting: list[pa.Table] = []  # rows as they are, before those of the buffer
        self._waits = 0
        self._part = path.with_name(f".{path.name}.part")
        with _disk(self.path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._part, self._schema, compression="zstd", write_statistics=True)

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def write(self, records: Iterable[msgspec.Struct]) -> None:
        """Add records, in the order in which they are to stand."""
        for record in records:
            self._buffer.append(record)
            if self._waits + len(self._buffer) == _ROW_GROUP:
                self._flush()

    def write_rows(self, rows: pa.Table) -> None:
        """Add rows of another table of this kind as they are: the file is the one that their records would give."""
        while rows.num_rows:
            self._settle()
            part = rows.slice(0, _ROW_GROUP - self._waits)
            rows = rows.slice(part.num_rows)
            self._waiting.append(part)
            self._waits += part.num_rows
            if self._waits == _ROW_GROUP:
                self._flush()

    def write_frame(self, frame: pl.DataFrame) -> None:
        """Add a frame's rows; its columns may stand in any order."""
        self._flush()
        table = frame.select(self._columns).to_arrow().cast(self._schema)
        with _disk(self.path):
            self._writer.write_table(table, row_group_size=_ROW_GROUP)
        self.rows += table.num_rows

    def _flush(self) -> None:
        self._settle()
        if not self._waits:
            return
        # One piece: how rows came together must not show in the file.
        rows = pa.concat_tables(self._waiting).combine_chunks()
        with _disk(self.path):
            self._writer.write_table(rows)
        self.rows += rows.num_rows
        self._waiting = []
        self._waits = 0

    def _settle(self) -> None:
        """Let the records of the buffer wait as rows."""
        if not self._buffer:
            return
        columns = [[getattr(record, name) for record in self._buffer] for name in self._columns]
        arrays = [pa.array(c, f.type) for c, f in zip(columns, self._schema, strict=True)]
        self._waiting.append(pa.Table.from_arrays(arrays, schema=self._schema))
        self._waits += len(self._buffer)
        self._buffer = []

    def close(self) -> None:
        """Write what is left and put the file in place."""
        try:
            self.finish()
            with _disk(self.path):
                # Where the tables beside it are listed, so is it; unless it is only for a while.
                if (self.path.parent / manifest.NAME).exists() and not self.path.name.startswith("."):
                    _put([self])
                else:
                    self._part.replace(self.path)
        except BaseException:
            self.abandon()
            raise

    def finish(self) -> None:
        """Write what is left; the file is whole then, but not in place."""
        self._flush()
        with _disk(self.path):
            self._writer.close()
            if self._sort:
                self._put_in_order()
            with self._part.open("rb") as file:
                os.fsync(file.fileno())

    def _put_in_order(self) -> None:
        frame = pl.read_parquet(self._part).sort(self._sort, maintain_order=True)
        with TableWriter(self._part, self._kind) as ordered:
            ordered.write_frame(frame)

    @property
    def name(self) -> str:
        """The table's."""
        return self.path.name.removesuffix(".parquet")

    def leave(self) -> manifest.Entry:
        """Put the finished file where it waits for the others; what it is."""
        entry = manifest.Entry(self.rows, self._part.stat().st_size, manifest.checksum(self._part))
        self._part.replace(manifest.waiting(self.path.parent, self.name, entry))
        return entry

    def abandon(self) -> None:
        """Give up: nothing is left behind."""
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        path = path.with_name(path.name.removeprefix(".").removesuffix(".part"))
        raise StoreError(
            f"the table {path} could not be written ({getattr(error, 'strerror', None) or error}): "
            "see to the disk and run the same command again; no reply is asked for twice"
        ) from error


def _put(writers: Sequence[TableWriter], gone: Iterable[str] = ()) -> None:
    """Make finished files the tables of their folder, all at one moment."""
    folder = writers[0].path.parent
    entries = manifest.settle(folder)
    entries |= {writer.name: writer.leave() for writer in writers}
    entries |= dict.fromkeys(gone)
    for writer in writers:
        if writer.of:
            entry = entries[writer.name]
            assert entry
            entries[writer.name] = msgspec.structs.replace(entry, of=manifest.sources(writer.of, entries))
    manifest.swap(folder, entries)
    manifest.settle(folder)


class Tables:
    """Tables that belong together: written one beside the other, and put in place all at one moment, or none.

    ```python
    with Tables(folder) as tables:
        tables.open("questions", Question).write(questions)
        tables.open("drops", Drop).write(drops)
    ```
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: list[TableWriter] = []
        self._gone: list[str] = []

    def open(
        self, name: str, kind: type[msgspec.Struct], *, sort: tuple[str, ...] = (), of: tuple[str, ...] = ()
    ) -> TableWriter:
        """Begin a table; it is closed with the others.

        Args:
            name: the table's.
            kind: of which records.
            sort: as for a `TableWriter`.
            of: the tables that it is made from: when they say something else, it is out of date.
        """
        writer = TableWriter(manifest.usual(self._folder, name), kind, sort)
        writer.of = of
        self._writers.append(writer)
        return writer

    def take_away(self, *names: str) -> None:
        """These are not to be there any more, when the others are."""
        self._gone += names

    def __enter__(self) -> "Tables":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._writers:
                for writer in self._writers:
                    writer.finish()
                with _disk(self._folder):
                    _put(self._writers, self._gone)
        finally:
            for writer in self._writers:
                writer.abandon()


def write_table(path: Path, kind: type[msgspec.Struct], records: Iterable[msgspec.Struct]) -> int:
    """Write a whole table; the number of rows written."""
    with TableWriter(path, kind) as writer:
        writer.write(records)
    return writer.rows


def read_table(path: Path, kind: type[Record]) -> Iterator[Record]:
    """Read a table's records in its order, a batch at a time.

    Raises:
        StoreError: the file is damaged or is not such a table.
    """
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from (msgspec.convert(row, kind) for row in batch.to_pylist())
    except (pa.ArrowException, OSError, ValueError) as error:  # also text that is no UTF-8
        raise _unreadable(path, error) from error


def scan_table(path: Path, kind: type[msgspec.Struct]) -> pl.LazyFrame:
    """A table to query.

    Raises:
        StoreError: the file is damaged or is not such a table.
    """
    try:
        missing = set(schema(kind).names) - set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if missing:
        raise _unreadable(path, f"it has no {', '.join(sorted(missing))}")
    return pl.scan_parquet(path)


DAMAGED = "a table is damaged: `lpt check RUN` tells which one, and what writes it anew; nothing is asked for twice"


def damaged_table(error: BaseException) -> bool:
    """Whether a query failed because a table is not what was written: its pages are read when it is collected."""
    if isinstance(error, pl.exceptions.PanicException):  # polars' own way to meet a page that it did not expect
        return True
    return isinstance(error, (pl.exceptions.ComputeError, OSError, UnicodeDecodeError)) and "parquet" in str(error)


def _unreadable(path: Path, why: object) -> StoreError:
    return StoreError(f"the table {path} cannot be read ({why}): the command that made it writes it anew")


def empty_frame(kind: type[msgspec.Struct]) -> pl.DataFrame:
    """A frame without rows that has the columns of a record type."""
    frame = pl.from_arrow(schema(kind).empty_table())
    assert isinstance(frame, pl.DataFrame)
    return frame
