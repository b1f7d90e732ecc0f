"""What has come all the way: for each caption, which rows of the tables are its own, and whether it lacks any.

`RUN/finished.CHECKSUM.sqlite` is written beside the tables, a row a caption in their order, and put in place after
them. With it the next run of the same kind takes rows over instead of deriving them again. It says what they were
made with (`fingerprint`), which tables it is about (their checksums), and which ledger knows their replies; its own
checksum is in its name. Where one of these is not as it was, nothing is taken over: all can be derived from the
ledger, always. It may be deleted.
"""

import contextlib
import os
import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from lpt.errors import StoreError
from lpt.records import LOST, Drop
from lpt.store import manifest
from lpt.store.run import Run
from lpt.store.shape import FAILS, strange

ROWS = ("questions", "thoughts", "long_thoughts")
"""The tables whose rows are taken over. Drops are kept here as they came: curation adds to their table."""

AGAIN = frozenset({*LOST, "image-gone", "image-changed"})
"""Reasons of drops that another attempt may do away with: such a caption has not come all the way."""

_SCHEMA = """
CREATE TABLE about (fingerprint TEXT NOT NULL, tables TEXT NOT NULL, ledger TEXT NOT NULL);
CREATE TABLE came (
    number INTEGER PRIMARY KEY,
    caption TEXT NOT NULL UNIQUE,
    essence TEXT NOT NULL,
    whole INTEGER NOT NULL,
    questions_at INTEGER NOT NULL,
    thoughts_at INTEGER NOT NULL,
    long_thoughts_at INTEGER NOT NULL,
    questions INTEGER NOT NULL,
    thoughts INTEGER NOT NULL,
    long_thoughts INTEGER NOT NULL,
    useless_thoughts INTEGER NOT NULL,
    useless_long_thoughts INTEGER NOT NULL,
    drops BLOB NOT NULL
);
"""
_AT = "questions_at, thoughts_at, long_thoughts_at"
_NUMBERS = f"number, {_AT}, questions, thoughts, long_thoughts, useless_thoughts, useless_long_thoughts"
_DROPS = msgspec.json.Decoder(list[Drop])


class Rows(NamedTuple):
    """Rows of each table, one after another: from `start` to before `end`, in the order of `ROWS`."""

    start: tuple[int, int, int]
    end: tuple[int, int, int]


class Span(NamedTuple):
    """Captions that stand one after another, and are taken over together."""

    first: int
    last: int
    """The number of the last caption; numbers count up from 1."""
    rows: Rows

    def joined(self, other: "Span") -> "Span | None":
        """Both as one, where the other follows upon this one."""
        if other.first != self.last + 1:
            return None
        return Span(self.first, other.last, Rows(self.rows.start, other.rows.end))


class Finished:
    """What an earlier run of the same kind left, open to be taken over."""

    def __init__(self, run: Run, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._tables = {name: _Table(run.table_path(name)) for name in ROWS}

    @staticmethod
    def open(run: Run, fingerprint: str, holds: Callable[[str], bool]) -> "Finished | None":
        """What can be taken over; None where anything is not as it was, or cannot be read.

        Args:
            run: the run.
            fingerprint: what the rows must have been made with.
            holds: says whether the ledger has a mark, and so knows their replies.
        """
        with contextlib.suppress(OSError, StoreError):
            tables = _checksums(run)
            for path in accounts(run):
                if _whole(path) and (found := _opened(run, path, [fingerprint, tables], holds)):
                    return found
        return None

    def __enter__(self) -> "Finished":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._connection.close()
        for table in self._tables.values():
            table.close()

    @property
    def captions(self) -> int:
        """How many captions there are."""
        return int(self._read("SELECT COALESCE(MAX(number), 0) FROM came", []).fetchone()[0])

    def of(self, caption: str, essence: str) -> Span | None:
        """A caption's place; None where it has not come all the way, or was another."""
        found = self._read(
            f"SELECT number, {_AT}, questions, thoughts, long_thoughts FROM came"  # noqa: S608 (ours)
            " WHERE caption = ? AND essence = ? AND whole",
            [caption, essence],
        ).fetchone()
        if found is None:
            return None
        number, *start, questions, thoughts, longs = found
        end = (start[0] + questions, start[1] + thoughts, start[2] + longs)
        return Span(number, number, Rows((start[0], start[1], start[2]), end))

    def rows(self, span: Span) -> Iterator[tuple[str, pa.Table]]:
        """The rows of a span, as (table, some rows): table by table, each in its order."""
        for name, start, end in zip(ROWS, *span.rows, strict=True):
            for part in self._tables[name].slices(start, end):
                yield name, part

    def drops(self, span: Span) -> Iterator[list[Drop]]:
        """The drops of a span, a caption at a time."""
        query = "SELECT drops FROM came WHERE number BETWEEN ? AND ? ORDER BY number"
        for (drops,) in self._read(query, [span.first, span.last]):
            with _reading(self.path):
                found = _DROPS.decode(drops)
            yield found

    def kept(self, span: Span) -> tuple[int, int, int]:
        """How many questions, thoughts and long thoughts of a span can be used."""
        query = (
            "SELECT SUM(questions), SUM(thoughts - useless_thoughts), SUM(long_thoughts - useless_long_thoughts)"
            " FROM came WHERE number BETWEEN ? AND ?"
        )
        found: tuple[int, int, int] = self._read(query, [span.first, span.last]).fetchone()
        return found

    def _read(self, query: str, values: list[object]) -> sqlite3.Cursor:
        with _reading(self.path):
            return self._connection.execute(query, values)


def _opened(run: Run, path: Path, wanted: list[str], holds: Callable[[str], bool]) -> Finished | None:
    """An account, where it is about what is wanted, and the tables are what it says."""
    with ExitStack() as stack:
        connection = stack.enter_context(contextlib.closing(sqlite3.connect(_read_only(path), uri=True)))
        try:
            if strange(connection, _SCHEMA) or _astray(connection):
                return None
            (*about, ledger) = connection.execute("SELECT fingerprint, tables, ledger FROM about").fetchone()
        except (*FAILS, TypeError):  # of another version
            return None
        if about == wanted and holds(ledger) and _read_through(run) == wanted[1]:
            found = Finished(run, path, connection)
            stack.pop_all()
            return found
    return None


def _astray(connection: sqlite3.Connection) -> bool:
    """Whether a row is not what a journal writes: numbers that count up, and rows that follow on one another."""
    ends = [0, 0, 0]
    for number, row in enumerate(connection.execute(f"SELECT {_NUMBERS} FROM came ORDER BY number"), 1):  # noqa: S608
        if not all(isinstance(value, int) and value >= 0 for value in row) or row[0] != number:
            return True
        starts, counts, useless = row[1:4], row[4:7], row[7:]
        if list(starts) != ends or useless[0] > counts[1] or useless[1] > counts[2]:
            return True
        ends = [start + count for start, count in zip(starts, counts, strict=True)]
    return False


class _Table:
    """A table whose rows are read by number, a row group in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _reading(path):
            self._file = pq.ParquetFile(path)
            about = self._file.metadata
            sizes = [about.row_group(i).num_rows for i in range(about.num_row_groups)]
        self._starts = list(accumulate(sizes, initial=0))
        self._group = -1
        self._rows: pa.Table | None = None

    def slices(self, start: int, end: int) -> Iterator[pa.Table]:
        """The rows from `start` to before `end`, a row group or less at a time."""
        while start < end:
            group = min(bisect_right(self._starts, start), len(self._starts) - 1) - 1
            if group != self._group:
                with _reading(self._path):
                    self._rows = self._file.read_row_group(group)
                self._group = group
            assert self._rows is not None
            part = self._rows.slice(start - self._starts[group], end - start)
            if not part.num_rows:
                raise StoreError(f"{self._path} has fewer rows than were written: the same command derives it anew")
            yield part
            start += part.num_rows

    def close(self) -> None:
        self._rows = None
        self._file.close()


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, sqlite3.Error, OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read ({error}): the same command derives it anew") from error


class Journal:
    """Keeps account of the captions that come, as their rows are written. It is in place once it is sealed."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._part = run.path / ".finished.sqlite.part"
        self._rows = [0, 0, 0]
        with _writing(self._part):
            self._part.unlink(missing_ok=True)
            self._connection = sqlite3.connect(
                self._part.absolute().as_uri(), uri=True, isolation_level=None, check_same_thread=False
            )
            # A file that is torn is never put in place: it needs no journal of its own.
            self._connection.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_SCHEMA} BEGIN")

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._part.unlink(missing_ok=True)

    def add(
        self, caption: str, essence: str, rows: tuple[int, int, int], useless: tuple[int, int], drops: list[Drop]
    ) -> None:
        """A caption has come, and its rows have been added to the tables.

        Args:
            caption: its id.
            essence: a hash of all that its journey set out with.
            rows: how many questions, thoughts and long thoughts it brought.
            useless: how many of the thoughts and long thoughts cannot be used.
            drops: what left its journey.
        """
        whole = not any(drop.reason in AGAIN for drop in drops)
        with _writing(self._part):
            self._connection.execute(
                "INSERT INTO came VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [caption, essence, whole, *self._rows, *rows, *useless, msgspec.json.encode(drops)],
            )
        self._count(rows)

    def adopt(self, before: Finished, span: Span) -> None:
        """Captions of an earlier account have been taken over, and their rows added to the tables."""
        shift = [now - then for now, then in zip(self._rows, span.rows.start, strict=True)]
        with _writing(self._part):
            if not self._connection.execute("SELECT 1 FROM pragma_database_list WHERE name = 'old'").fetchone():
                self._attach(before.path)
            self._connection.execute(_ADOPT, [*shift, span.first, span.last])
        self._count([end - start for start, end in zip(*span.rows, strict=True)])

    def _attach(self, path: Path) -> None:
        # Not within a transaction; nothing is lost if the one before stands.
        self._connection.execute("COMMIT")
        self._connection.execute("ATTACH DATABASE ? AS old", [_read_only(path)])
        self._connection.execute("BEGIN")

    def _count(self, rows: Iterable[int]) -> None:
        self._rows = [now + new for now, new in zip(self._rows, rows, strict=True)]

    def seal(self, fingerprint: str, ledger: str) -> None:
        """Put the account in place. The tables that it is about must be there before.

        Args:
            fingerprint: what the rows were made with.
            ledger: a mark of the ledger that knows their replies.
        """
        with _writing(self._part):
            about = [fingerprint, _checksums(self._run), ledger]
            self._connection.execute("INSERT INTO about VALUES (?, ?, ?)", about)
            self._connection.execute("COMMIT")
            self._connection.close()
            with self._part.open("rb") as file:
                os.fsync(file.fileno())
            older = accounts(self._run)
            place = self._run.path / f"finished.{manifest.checksum(self._part)}.sqlite"
            self._part.replace(place)
            for path in older:
                if path != place:
                    path.unlink(missing_ok=True)


_ADOPT = """
INSERT INTO came SELECT NULL, caption, essence, whole, questions_at + ?, thoughts_at + ?, long_thoughts_at + ?,
    questions, thoughts, long_thoughts, useless_thoughts, useless_long_thoughts, drops
FROM old.came WHERE number BETWEEN ? AND ? ORDER BY number
"""


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"{path} could not be written ({getattr(error, 'strerror', None) or error}): see to the disk and run "
            "the same command again; no reply is asked for twice"
        ) from error


def accounts(run: Run) -> list[Path]:
    """The accounts of a run: one, or two where a process was killed before it removed the older."""
    return sorted(run.path.glob("finished.*.sqlite"))


def _whole(path: Path) -> bool:
    return path.name == f"finished.{manifest.checksum(path)}.sqlite"


def _read_only(path: Path) -> str:
    return f"{path.absolute().as_uri()}?mode=ro&immutable=1"


def _checksums(run: Run) -> str:
    """The checksums of the tables as they were written."""
    entries = manifest.load(run.tables)
    return _said({name: entry.blake2b for name in ROWS if (entry := entries.get(name))})


def _read_through(run: Run) -> str:
    """The same of the files as they are now: rows are taken from these very files, or not at all."""
    return _said({name: manifest.checksum(run.table_path(name)) for name in ROWS})


def _said(checksums: dict[str, str]) -> str:
    return msgspec.json.encode(checksums).decode()
