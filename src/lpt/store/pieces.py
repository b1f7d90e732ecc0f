"""Pieces of a ledger: the calls and replies that were committed since the last piece, as one immutable file.

A piece is named by its own checksum, so one that is torn is known by its name, and put aside. Taking pieces up is
idempotent: a call that is there already is not added again, and of two answers to one request the first stands.
"""

import contextlib
import hashlib
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from lpt.errors import StoreError
from lpt.records import digest
from lpt.store import schema
from lpt.store.lock import hold_ledger, release_ledger
from lpt.store.pages import PAGE_SIZE
from lpt.store.reading import connect, store_error, whole
from lpt.store.shape import FAILS

SUFFIX = ".piece"
_MOST = 1 << 30
"""Bytes of a piece, unpacked: far more than a minute of replies."""
_LEVEL = 3
_MAGIC = b"lpt-piece-1\n"

_Key = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]


class _Reply(msgspec.Struct, frozen=True, array_like=True):
    key: _Key
    seed: int
    text: bytes
    reasoning: bytes | None
    finish_reason: bytes
    instructed: int
    sum: bytes | None


class _Call(msgspec.Struct, frozen=True, array_like=True):
    stage: str
    model: str
    record: str
    n: int
    outcome: str
    error: str
    attempts: int
    started: float
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    request: bytes
    replies: list[_Reply]


_CALLS = msgspec.msgpack.Decoder(list[_Call])
_CALL_COLUMNS = (
    "id, stage, model, record, n, outcome, error, attempts, started, seconds, prompt_tokens, completion_tokens,"
    " cached_tokens, request"
)
_REPLY_COLUMNS = (
    "rowid, call, key, seed, CAST(text AS BLOB), CAST(reasoning AS BLOB), CAST(finish_reason AS BLOB),"
    " instructed, sum"
)


class Piece(NamedTuple):
    """A piece that is to be published."""

    name: str
    data: bytes
    calls: int
    end: "Mark"


class Mark(NamedTuple):
    """How far pieces have come in a ledger: the last call, and the last reply, by their numbers there."""

    call: int = 0
    reply: int = 0


class TakenUp(NamedTuple):
    """What taking pieces up brought."""

    calls: int
    replies: int
    end: Mark


def cut(ledger: Path, after: Mark, most: int = 20_000) -> Piece | None:
    """The next piece of a ledger that may be in use; None where nothing was committed since.

    Args:
        ledger: the file.
        after: how far earlier pieces came.
        most: calls in a piece.

    Raises:
        StoreError: the ledger cannot be read.
    """
    try:
        with contextlib.closing(connect(ledger)) as connection:
            connection.execute("BEGIN")  # calls and replies of one moment
            query = f"SELECT {_CALL_COLUMNS} FROM calls WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608 (ours)
            rows = connection.execute(query, [after.call, most]).fetchall()
            if not rows:
                return None
            last = int(rows[-1][0])
            newest = after.reply
            replies: dict[int, list[_Reply]] = {}
            # By their own numbers, which grow with those of the calls: there is no index from calls to replies.
            query = f"SELECT {_REPLY_COLUMNS} FROM replies WHERE rowid > ? AND call <= ? ORDER BY rowid"  # noqa: S608
            for number, call, *reply in connection.execute(query, [after.reply, last]):
                replies.setdefault(call, []).append(_Reply(*reply))
                newest = number
    except FAILS as error:
        raise store_error(ledger, error) from error
    calls = [_Call(*[*row[1:], replies.get(row[0], [])]) for row in rows]
    data = _MAGIC + zlib.compress(msgspec.msgpack.encode(calls), _LEVEL)
    return Piece(_sum(data) + SUFFIX, data, len(calls), Mark(last, newest))


def is_whole(name: str, data: bytes) -> bool:
    """Whether a piece is what was published under its name, which ends with its checksum."""
    return name.endswith(f"{_sum(data)}{SUFFIX}")


def take_up(ledger: Path, pieces: Iterable[tuple[str, bytes]]) -> TakenUp:
    """Add what pieces hold to a ledger, made if it is not there. It is to be nobody else's meanwhile.

    All is committed at once: who is killed before leaves the ledger as it was.

    Args:
        ledger: the file.
        pieces: each with its name, whole ones only.

    Raises:
        RunError: another process has it open.
        StoreError: it cannot be written, or a piece holds what no ledger does.
    """
    lock = hold_ledger(ledger)
    try:
        return _take_up(ledger, pieces)
    except FAILS as error:
        raise store_error(ledger, error) from error
    finally:
        release_ledger(ledger, lock)


def _take_up(ledger: Path, pieces: Iterable[tuple[str, bytes]]) -> TakenUp:
    with contextlib.closing(sqlite3.connect(ledger, timeout=60, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute("PRAGMA journal_mode = WAL")
        schema.prepare(ledger, connection)
        connection.execute("BEGIN IMMEDIATE")
        # Calls that look the same (a failure keeps no time) are told apart by how many there are.
        there = Counter(map(_essence, connection.execute(f"SELECT {_ESSENCE} FROM calls")))  # noqa: S608 (ours)
        added = replies = 0
        for name, data in pieces:
            for call in _calls(name, data):
                row = msgspec.structs.astuple(call)[:-1]
                essence = _essence(row)
                if there[essence]:
                    there[essence] -= 1
                    continue
                number = connection.execute(schema.INSERT_CALL, row).lastrowid
                rows = [_row(reply, number) for reply in call.replies if _sound(reply)]
                added += 1
                replies += connection.executemany(schema.INSERT_REPLY, rows).rowcount if rows else 0
        (call_end,) = connection.execute("SELECT COALESCE(MAX(id), 0) FROM calls").fetchone()
        (reply_end,) = connection.execute("SELECT COALESCE(MAX(rowid), 0) FROM replies").fetchone()
        connection.execute("COMMIT")
        return TakenUp(added, replies, Mark(call_end, reply_end))


_ESSENCE = _CALL_COLUMNS.removeprefix("id, ")


def _essence(row: tuple[object, ...]) -> str:
    return digest(*row)


def _sound(reply: _Reply) -> bool:
    return whole(msgspec.structs.astuple(reply)) is not None


def _row(reply: _Reply, call: int | None) -> tuple[object, ...]:
    reasoning = None if reply.reasoning is None else reply.reasoning.decode()
    text, finish = reply.text.decode(), reply.finish_reason.decode()
    return reply.key, call, reply.seed, text, reasoning, finish, reply.instructed, reply.sum


def _calls(name: str, data: bytes) -> list[_Call]:
    try:
        if not data.startswith(_MAGIC):
            raise ValueError("it is of another version")  # noqa: TRY301 (one way out for all)
        unpacking = zlib.decompressobj()
        body = unpacking.decompress(data[len(_MAGIC) :], _MOST)
        if not unpacking.eof:
            raise ValueError("it is longer than a piece can be")  # noqa: TRY301
        return _CALLS.decode(body)
    except (zlib.error, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise StoreError(f"the piece {name} cannot be read ({error}): it was not written by this lpt") from error


def _sum(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
