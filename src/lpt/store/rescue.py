"""A ledger that is damaged: how much is, and a new one made of what is whole.

The damaged file is never changed and never removed: it stays beside the new one, under a name with the time.
"""

import contextlib
import logging
import os
import shutil
import sqlite3
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from lpt.errors import StoreError
from lpt.store import pages, schema
from lpt.store.lock import hold_ledger, release_ledger
from lpt.store.reading import connect, is_damage, store_error, whole
from lpt.store.shape import FAILS

_log = logging.getLogger(__name__)
_BATCH = 1000
_ROWS = (
    "SELECT rowid, key, seed, CAST(text AS BLOB), CAST(reasoning AS BLOB), CAST(finish_reason AS BLOB), instructed,"
    " sum FROM replies WHERE rowid > ? ORDER BY rowid LIMIT ?"
)


class Rescued(msgspec.Struct, frozen=True):
    """What a rescue brought."""

    replies: int
    calls: int
    lost: int
    """Replies that are known to have been there and are not whole any more; they are asked for again."""
    kept: Path
    """The damaged file."""

    def __str__(self) -> str:
        return (
            f"{self.replies:,} replies of {self.calls:,} calls are saved, at least {self.lost:,} are lost and will "
            f"be asked for again; the damaged file is kept as {self.kept}"
        )


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at every page and every row of a ledger found."""

    replies: int
    unchecked: int
    """Of an earlier version, without a checksum."""
    damaged: list[str]
    """The keys of replies that are not what was written."""
    calls: int
    damaged_calls: list[int]
    faults: list[str]
    """What SQLite finds wrong with the file."""
    history: list[str]
    """Earlier damage, each with its day."""

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.damaged or self.damaged_calls or self.faults)


def examine(path: Path) -> Health:
    """Look at every page and every row. Nothing is changed.

    Raises:
        StoreError: it cannot be opened.
    """
    replies = unchecked = calls = 0
    damaged: list[str] = []
    damaged_calls: list[int] = []
    faults: list[str] = []
    history: list[str] = []
    connection = None
    try:
        connection = connect(path)
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
        faults += [fault for fault in found if fault != "ok"]
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        query = _ROWS if version > 1 else _ROWS.replace(" sum ", " NULL ")
        for row in _batches(connection, query):
            replies += 1
            unchecked += row[-1] is None
            if whole(row[1:]) is None:
                damaged.append(row[1].hex() if isinstance(row[1], bytes) else str(row[1]))
        for id_, request in _batches(connection, "SELECT id, request FROM calls WHERE id > ? ORDER BY id LIMIT ?"):
            calls += 1
            if not _unzips(request):
                damaged_calls.append(id_)
        if version > 1:
            history += [
                f"{time.strftime('%Y-%m-%d', time.localtime(when))}: {what}"
                for when, what in connection.execute("SELECT found, what FROM damage ORDER BY found")
            ]
    except FAILS as error:
        if not is_damage(error):
            raise store_error(path, error) from error
        faults.append(str(error))
    finally:
        if connection:
            connection.close()
    return Health(
        replies=replies,
        unchecked=unchecked,
        damaged=damaged,
        calls=calls,
        damaged_calls=damaged_calls,
        faults=faults,
        history=history,
    )


def _batches(connection: sqlite3.Connection, query: str) -> Iterable[tuple[Any, ...]]:
    last = -(2**63)
    while rows := connection.execute(query, (last, _BATCH)).fetchall():
        yield from rows
        last = rows[-1][0]


def repair(path: Path) -> Rescued | None:
    """Rescue what is whole of a ledger if it is damaged; None when nothing is wrong with it.

    Raises:
        RunError: another process has it open.
        StoreError: as for `rescue`.
    """
    lock = hold_ledger(path)
    try:
        return None if pages.begins_whole(path) and examine(path).sound else rescue(path)
    except OSError as error:
        raise StoreError(f"the ledger {path} cannot be read ({error.strerror}): see to the disk") from error
    finally:
        release_ledger(path, lock)


def rescue(path: Path) -> Rescued:
    """Put a new ledger in the place of a damaged one, made of its rows that are whole. It is to be ours alone.

    A rescue that is killed is begun anew, or finished, by the next one: the ledger is there at every moment.

    Raises:
        StoreError: nothing in it can be read, or the new one cannot be written. Everything is as before.
    """
    finish(path)
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    kept = _kept(path, time.time())
    try:
        found = _copy(path, part, kept)
        if not found.replies and not found.calls:
            raise StoreError(
                f"the ledger {path} is damaged, and nothing in it can be read: move it away to start anew, or "
                "restore it from a copy"
            )
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(_ready(path))
        finish(path, kept)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"the ledger {path} is damaged, and what is whole in it could not be written anew beside it "
            f"({getattr(error, 'strerror', None) or error}): see to the disk, then run the same command again"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    _log.warning("the ledger %s was damaged: %s", path, found)
    return found


def finish(path: Path, kept: Path | None = None) -> None:
    """Finish a rescue that was killed when all was saved.

    Raises:
        OSError: the disk failed.
    """
    ready = _ready(path)
    if not ready.exists():
        return
    kept = kept or _kept(path, ready.stat().st_mtime)
    if path.exists() and not kept.exists():
        try:
            os.link(path, kept)
        except OSError:  # not every disk has links
            shutil.copy2(path, kept)
    log = path.with_name(f"{path.name}-wal")
    with contextlib.suppress(FileNotFoundError):  # its commits are of the old file alone
        log.replace(kept.with_name(f"{kept.name}-wal"))
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    ready.replace(path)
    suspect(path).unlink(missing_ok=True)


def suspect(path: Path) -> Path:
    """A file that stands beside a ledger in which damage was met."""
    return path.with_name(f".{path.name}.suspect")


def _ready(path: Path) -> Path:
    return path.with_name(f".{path.name}.rescued")


def _kept(path: Path, when: float) -> Path:
    return path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S', time.localtime(when))}")


def _copy(path: Path, part: Path, kept: Path) -> Rescued:
    """Copy every row that is whole."""
    connection = sqlite3.connect(part, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size = {pages.PAGE_SIZE}")
        connection.execute("PRAGMA journal_mode = OFF")  # nobody misses it if it is not finished
        connection.execute("PRAGMA synchronous = OFF")
        schema.prepare(path, connection)
        connection.execute("BEGIN")
        highest = 0
        for variants in pages.read(path):
            for row, values in variants:
                if len(values) == schema.CALL_COLUMNS and _is_call(values):
                    marks = ", ".join("?" * schema.CALL_COLUMNS)
                    connection.execute(f"INSERT OR IGNORE INTO calls VALUES ({marks})", (row, *values[1:]))  # noqa: S608
                    break
                if _is_reply(values):
                    highest = max(highest, row)
                    if _is_whole(values):
                        connection.execute(_INSERT_REPLY, (row, *values, *[None] * (8 - len(values))))
                        break
        (replies,) = connection.execute("SELECT COUNT(*) FROM replies").fetchone()
        (calls,) = connection.execute("SELECT COUNT(*) FROM calls").fetchone()
        found = Rescued(replies, calls, max(highest - replies, 0), kept)
        connection.execute("INSERT INTO damage VALUES (?, ?)", (time.time(), str(found)))
        connection.execute("COMMIT")
        return found
    finally:
        connection.close()


_INSERT_REPLY = (
    "INSERT OR IGNORE INTO replies (rowid, key, call, seed, text, reasoning, finish_reason, instructed, sum)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_NULL = type(None)
_NUMBER = (int, float)
_CALL: tuple[Any, ...] = (_NULL, str, str, str, bytes, int, str, str, int, _NUMBER, _NUMBER, int, int, int)
_REPLY: tuple[Any, ...] = (bytes, int, int, str, (str, _NULL), str, int, (bytes, _NULL))


def _is_call(values: list[Any]) -> bool:
    return all(isinstance(value, kind) for value, kind in zip(values, _CALL, strict=True)) and _unzips(values[4])


def _is_reply(values: list[Any]) -> bool:
    right = all(isinstance(value, kind) for value, kind in zip(values, _REPLY, strict=False))
    return len(values) in (7, 8) and right and len(values[0]) == 16


def _is_whole(values: list[Any]) -> bool:
    key, _, seed, text, reasoning, finish, instructed, kept = (*values, None)[:8]
    if kept is None and "\0" in text:  # zeros are what a page that was lost is often full of
        return False
    stored = text.encode(), None if reasoning is None else reasoning.encode(), finish.encode()
    return whole((key, seed, *stored, instructed, kept)) is not None


def _unzips(request: object) -> bool:
    """Whether it is the request of a call: it has a checksum of its own."""
    try:
        return isinstance(request, bytes) and schema.unpack(request) is not None
    except zlib.error:
        return False
