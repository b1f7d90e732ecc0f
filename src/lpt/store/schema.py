"""What stands in a ledger file: its tables, the checksum of a reply, and files of earlier versions."""

import hashlib
import sqlite3
import zlib
from pathlib import Path

from lpt.errors import StoreError
from lpt.store.shape import strange

VERSION = 2
"""In the file's `user_version`. 1: replies have no checksum."""

CALL_COLUMNS, REPLY_COLUMNS = 14, 8

_TABLES = """
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY,
    stage TEXT NOT NULL,
    model TEXT NOT NULL,
    record TEXT NOT NULL,
    request BLOB NOT NULL,
    n INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    error TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    started REAL NOT NULL,
    seconds REAL NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS replies (
    key BLOB NOT NULL UNIQUE,
    call INTEGER NOT NULL REFERENCES calls(id),
    seed INTEGER NOT NULL,
    text TEXT NOT NULL,
    reasoning TEXT,
    finish_reason TEXT NOT NULL,
    instructed INTEGER NOT NULL,
    sum BLOB
);
CREATE TABLE IF NOT EXISTS damage (
    found REAL NOT NULL,
    what TEXT NOT NULL
);
"""

_BEFORE_SUMS = _TABLES.replace(",\n    sum BLOB", "").partition("CREATE TABLE IF NOT EXISTS damage")[0]
_LONGEST = 16 << 20
"""Bytes of a request: pictures are in it by their hashes alone."""

INSERT_CALL = (
    "INSERT INTO calls (stage, model, record, n, outcome, error, attempts, started, seconds,"
    " prompt_tokens, completion_tokens, cached_tokens, request) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# The first answer stands.
INSERT_REPLY = (
    "INSERT OR IGNORE INTO replies (key, call, seed, text, reasoning, finish_reason, instructed, sum)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


def checksum(
    key: bytes, seed: int, text: bytes, reasoning: bytes | None, finish_reason: bytes, instructed: int
) -> bytes:
    """The checksum of a reply, 8 bytes: of all that an answer is made of. Texts as they are stored, in UTF-8."""
    given = b"-" if reasoning is None else b"%d" % len(reasoning)
    head = b"%b %d %b %d %d %b " % (key, seed, finish_reason, instructed, len(text), given)
    return hashlib.blake2b(head + text + (reasoning or b""), digest_size=8).digest()


def unpack(request: bytes) -> bytes:
    """The request of a call as it was, of bounded length whatever the packed bytes promise.

    Raises:
        zlib.error: it is damaged.
    """
    unpacking = zlib.decompressobj()
    body = unpacking.decompress(request, _LONGEST)
    if not unpacking.eof:
        raise zlib.error("incomplete, or longer than any request")
    return body


def look(connection: sqlite3.Connection) -> None:
    """See that a ledger in which something was written is one, before anything is asked of it.

    Raises:
        sqlite3.Error, UnicodeDecodeError: it is not, or is damaged.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    wrong = strange(connection, _TABLES, besides=_BEFORE_SUMS if version == 1 else "")
    if wrong:
        raise sqlite3.DatabaseError(f"malformed schema: {wrong}")


def stand_in(connection: sqlite3.Connection) -> None:
    """Give a file in which nothing was ever written tables that hold nothing, for this reader alone."""
    for statement in _TABLES.split(";\n")[:-1]:
        connection.execute(statement.replace("CREATE TABLE", "CREATE TEMP TABLE"))


def prepare(path: Path, connection: sqlite3.Connection) -> None:
    """Make the tables of a new ledger, or bring an older one up; the file is to be ours alone.

    Raises:
        StoreError: the file was written by a newer lpt.
        sqlite3.Error: it is damaged, or cannot be written.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise StoreError(
            f"the ledger {path} is of version {version}; this lpt writes version {VERSION}: use the newer lpt that "
            "made it, or another ledger"
        )
    if version or connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        look(connection)
    if version == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    for statement in _TABLES.split(";\n")[:-1]:
        connection.execute(statement)
    if version == 1:  # what is there keeps no checksum: it is believed as it stands
        connection.execute("ALTER TABLE replies ADD COLUMN sum BLOB")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")
