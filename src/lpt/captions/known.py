"""Image files that were looked at before: unchanged, they need not be read and decoded again.

`RUN/intake.sqlite` remembers files by place, size, times and number on the disk (as git does), and which pictures
were sound. It is a help and no truth: where it is missing, damaged or of another version, images are looked at, and
before one is sent its bytes are hashed again. It may be deleted at any time.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import PIL

from lpt.captions import pixels
from lpt.records import digest

_TOGETHER = 512
"""Files that are remembered at once."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    place TEXT PRIMARY KEY,
    stat TEXT NOT NULL,
    image TEXT NOT NULL,
    name TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS images ON files (image);
"""


class File(NamedTuple):
    """What is remembered of a file."""

    image: str
    """The hash of its bytes."""
    name: str
    """What the run keeps it as; empty where it stays in its place."""


class Known:
    """The files that a run has seen. Safe in threads; whatever fails on its disk, it only knows less."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._new = 0
        self._connection: sqlite3.Connection | None = None
        with contextlib.suppress(sqlite3.Error, OSError, UnicodeError):
            self._connection = _opened(path)

    def __enter__(self) -> "Known":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock, contextlib.suppress(sqlite3.Error, UnicodeError):
            if self._connection:
                self._commit()
                self._connection.close()
        self._connection = None

    def file(self, path: Path, stat: os.stat_result) -> File | None:
        """A file that has not changed since it was seen, and was a sound image."""
        row = self._one("SELECT image, name FROM files WHERE place = ? AND stat = ?", str(path), _said(stat))
        return File(*row) if row else None

    def sound(self, image: str) -> bool:
        """Whether bytes of this hash have been decoded to their end before, wherever they lay."""
        return self._one("SELECT 1 FROM files WHERE image = ?", image) is not None

    def remember(self, place: str | Path, stat: os.stat_result | None, image: str, name: str = "") -> None:
        """An image was read, and is sound.

        Args:
            place: its file, or a name that nothing else has.
            stat: of the file, from before it was read.
            image: the hash of its bytes.
            name: what the run keeps it as.
        """
        with self._lock, self._or_nothing() as connection:
            if connection is None:
                return
            if self._new == 0:
                connection.execute("BEGIN")
            values = [str(place), _said(stat) if stat else "", image, name]
            connection.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", values)
            self._new += 1
            if self._new == _TOGETHER:
                self._commit()

    def _one(self, query: str, *values: str) -> tuple[str, ...] | None:
        with self._lock, self._or_nothing() as connection:
            if connection:
                row: tuple[str, ...] | None = connection.execute(query, values).fetchone()
                return row
        return None

    def _commit(self) -> None:
        if self._connection and self._new:
            self._connection.execute("COMMIT")
            self._new = 0

    @contextlib.contextmanager
    def _or_nothing(self) -> Iterator[sqlite3.Connection | None]:
        try:
            yield self._connection
        except (sqlite3.Error, UnicodeError):
            self._connection = None


def forget(path: Path, place: Path) -> None:
    """A file is not what was remembered of it, though it looks the same."""
    with contextlib.suppress(sqlite3.Error, OSError, UnicodeError):
        connection = _opened(path)
        with contextlib.closing(connection):
            connection.execute("DELETE FROM files WHERE place = ?", [str(place)])


def _opened(path: Path) -> sqlite3.Connection:
    """The file, open; begun anew where it cannot be used."""
    with contextlib.suppress(sqlite3.Error, UnicodeError):
        connection = _connect(path)
        with contextlib.suppress(sqlite3.Error, UnicodeError):
            if connection.execute("SELECT version FROM about").fetchone() == (_version(),):
                connection.executescript(_SCHEMA)
                return connection
        connection.close()
    for part in (path, path.with_name(f"{path.name}-journal")):
        part.unlink(missing_ok=True)
    connection = _connect(path)
    connection.executescript(_SCHEMA)
    connection.execute("CREATE TABLE about (version TEXT NOT NULL)")
    connection.execute("INSERT INTO about VALUES (?)", [_version()])
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)


@cache
def _version() -> str:
    """What decides whether an image is sound."""
    return digest("known", Path(pixels.__file__).read_bytes(), PIL.__version__)


def _said(stat: os.stat_result) -> str:
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"
