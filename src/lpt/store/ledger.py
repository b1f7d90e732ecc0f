"""The ledger: every request ever made and every reply that came, in one SQLite file.

A reply is kept under a key that says exactly what was asked: the canonical request with images by their hashes,
the model and its version, the sampling, the sample's seed. Where the server is does not matter. Asking what was
asked before is a look-up; so running again is resuming, and raising `samples` from 3 to 5 asks for two more.

One thread writes. What arrives while a commit is under way goes into the next one (group commit), so the cost of
a commit is shared by all the replies that wait for it. WAL lets others read meanwhile, and a killed process loses
nothing that was committed.
"""

import asyncio
import queue
import sqlite3
import sys
import threading
import time
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from lpt.errors import StoreError
from lpt.models.base import Choice, Reply, Request, Usage
from lpt.records import digest
from lpt.settings import ModelSettings

_SCHEMA = """
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
    instructed INTEGER NOT NULL
);
"""
_VERSION = 1
_GROUP_SECONDS = 0.001
_SWITCH_SECONDS = 0.0002


class CallRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a call to a model was and cost."""

    id: int
    stage: str
    model: str
    record: str
    request: dict[str, Any]
    """The canonical request: what the key is made of, without the seed."""
    outcome: str
    """"ok", or the kind of the failure."""
    error: str
    attempts: int
    started: float
    seconds: float
    usage: Usage


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What one stage cost with one model."""

    stage: str
    model: str
    calls: int
    failed: int
    replies: int
    retries: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    seconds: float
    """Summed over calls; calls overlap."""


class _Write(msgspec.Struct, frozen=True):
    call: tuple[Any, ...]
    replies: list[tuple[Any, ...]]
    body: bytes
    done: "asyncio.Future[bool]"
    """True when every reply is kept as it came; False when the ledger had one of the kind already."""
    loop: asyncio.AbstractEventLoop


def canonical(request: Request, model: ModelSettings) -> bytes:
    """Everything about a request that its answer may depend on, but for the seed, as sorted JSON.

    Left out: the URL, headers and keys (where a model is does not change what it is), `stage`, `record`, `rank`
    and `affinity` (who asks, and when), and the dialect of continuing a turn, since all true ones mean the same;
    to be asked in words is another thing, and is in.
    """
    body: dict[str, Any] = {
        "model": model.model,
        "version": model.version,
        "messages": [[m.role, m.text, [image.key for image in m.images]] for m in request.messages],
        "sampling": msgspec.to_builtins(request.sampling),
    }
    if request.prefill is not None:
        body["prefill"] = request.prefill
        if model.prefill == "instructed":
            body["instructed"] = True
    if request.schema is not None:
        body["schema"] = request.schema
    if model.extra:
        body["extra"] = model.extra
    return msgspec.json.encode(body, order="deterministic")


def reply_key(body: bytes, seed: int) -> str:
    """The ledger's key of one sample: 32 hexadecimal digits."""
    return digest("reply", body, seed)


class Ledger:
    """An open ledger. Look-ups are synchronous (microseconds); writes are awaited until they are committed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the ledger's folder {path.parent} cannot be made: {error.strerror}") from error
        self._reader = _connect(path)
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._broken: StoreError | None = None
        self._writer = threading.Thread(
            target=self._write_forever, args=[_connect(path)], name="ledger", daemon=True
        )
        # The writer needs the interpreter for microseconds, some times a commit; by default a busy event loop hands
        # it over only every 5 ms, and every reply waits for its commit (measured: a quarter of the client's rate).
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_SECONDS))
        self._writer.start()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Commit what is queued and close the file."""
        self._queue.put(None)
        self._writer.join()
        self._reader.close()

    def get(self, keys: Sequence[str]) -> dict[str, Choice]:
        """The replies that are known, by key."""
        marks = ",".join("?" * len(keys))
        rows = self._read(
            f"SELECT key, text, reasoning, finish_reason, instructed FROM replies WHERE key IN ({marks})",  # noqa: S608 (only question marks)
            [bytes.fromhex(key) for key in keys],
        )
        return {
            key.hex(): Choice(
                text=text, reasoning=reasoning, finish_reason=finish, key=key.hex(), instructed=bool(instructed)
            )
            for key, text, reasoning, finish, instructed in rows
        }

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._reader.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise _store_error(self.path, error) from error

    async def put(self, request: Request, model: str, body: bytes, reply: Reply) -> bool:
        """Keep a reply; returns when it is committed. Choices carry their keys.

        Returns:
            Whether all of it was kept. Another run on the same ledger may have had its answer first; that stands.

        Raises:
            StoreError: the disk is full or the file is damaged.
        """
        replies = [
            (
                bytes.fromhex(choice.key),
                request.seed + i,
                choice.text,
                choice.reasoning,
                choice.finish_reason,
                choice.instructed,
            )
            for i, choice in reply.samples()
        ]
        return await self._put(request, model, body, "ok", "", reply, replies)

    async def put_failure(self, request: Request, model: str, body: bytes, outcome: str, error: str) -> None:
        """Keep the memory of a call that failed: it is counted, and asked again by the next run."""
        await self._put(request, model, body, outcome, error, Reply(choices=(), attempts=0), [])

    async def _put(
        self,
        request: Request,
        model: str,
        body: bytes,
        outcome: str,
        error: str,
        reply: Reply,
        replies: list[tuple[Any, ...]],
    ) -> bool:
        if self._broken:
            raise self._broken
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bool] = loop.create_future()
        usage = reply.usage
        call = (
            request.stage,
            model,
            request.record,
            request.n,
            outcome,
            error.encode("utf-8", "replace").decode(),  # in the server's own words, which may be no text
            reply.attempts,
            reply.started,
            reply.seconds,
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cached_tokens,
        )
        self._queue.put(_Write(call, replies, body, done, loop))
        return await done

    def _write_forever(self, connection: sqlite3.Connection) -> None:
        last = False
        while not last:
            batch = [self._queue.get()]
            # More come at once than one by one: a millisecond is nothing beside a model's reply.
            time.sleep(_GROUP_SECONDS)
            while not self._queue.empty():
                batch.append(self._queue.get())
            last = None in batch
            writes = [write for write in batch if write is not None]
            whole = []
            try:
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    for write in writes:
                        call = connection.execute(_INSERT_CALL, (*write.call, zlib.compress(write.body, 1)))
                        rows = [(reply[0], call.lastrowid, *reply[1:]) for reply in write.replies]
                        whole.append(connection.executemany(_INSERT_REPLY, rows).rowcount == len(rows))
            except Exception as error:  # noqa: BLE001 (whatever it is, those who wait must hear of it)
                self._broken = _store_error(self.path, error)
            _settle(writes, whole, self._broken)
        connection.close()

    def lookup(self, key: str) -> tuple[Choice, CallRow] | None:
        """A reply with the call that brought it: for lineage. None when the ledger has no such reply."""
        found = self.get([key])
        if key not in found:
            return None
        (row,) = self._read(
            "SELECT c.id, stage, model, record, request, outcome, error, attempts, started, seconds,"
            " prompt_tokens, completion_tokens, cached_tokens"
            " FROM replies r JOIN calls c ON c.id = r.call WHERE r.key = ?",
            [bytes.fromhex(key)],
        )
        call = CallRow(
            id=row[0],
            stage=row[1],
            model=row[2],
            record=row[3],
            request=msgspec.json.decode(zlib.decompress(row[4])),
            outcome=row[5],
            error=row[6],
            attempts=row[7],
            started=row[8],
            seconds=row[9],
            usage=Usage(*row[10:13]),
        )
        return found[key], call

    def spent(self, keys: Iterable[str] | None = None) -> list[Spent]:
        """What was spent, by stage and model: in all, or only by the calls that brought the replies of `keys`."""
        where = ""
        if keys is not None:
            self._read("CREATE TEMP TABLE IF NOT EXISTS wanted (key BLOB PRIMARY KEY)")
            self._read("BEGIN")
            self._read("DELETE FROM wanted")
            self._reader.executemany(
                "INSERT OR IGNORE INTO wanted VALUES (?)", ((bytes.fromhex(key),) for key in keys)
            )
            self._read("COMMIT")
            where = "WHERE id IN (SELECT call FROM replies JOIN wanted USING (key))"
        rows = self._read(_SUM_CALLS.format(where=where))
        return [
            Spent(**dict(zip((f.name for f in msgspec.structs.fields(Spent)), row, strict=True))) for row in rows
        ]

    def failures(self) -> dict[tuple[str, str], int]:
        """How many calls failed, by stage and kind."""
        rows = self._read(
            "SELECT stage, outcome, COUNT(*) FROM calls WHERE outcome != 'ok' GROUP BY 1, 2 ORDER BY 1, 2"
        )
        return {(stage, outcome): count for stage, outcome, count in rows}

    def last_failure(self) -> str:
        """What the last call that failed was told, or what we said of it; empty when none failed."""
        rows = list(self._read("SELECT error FROM calls WHERE outcome != 'ok' ORDER BY id DESC LIMIT 1"))
        return str(rows[0][0]) if rows else ""


_INSERT_CALL = (
    "INSERT INTO calls (stage, model, record, n, outcome, error, attempts, started, seconds,"
    " prompt_tokens, completion_tokens, cached_tokens, request) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_SUM_CALLS = (
    "SELECT stage, model, COUNT(*), SUM(outcome != 'ok'), SUM(CASE outcome WHEN 'ok' THEN n ELSE 0 END),"
    " SUM(MAX(attempts - 1, 0)), SUM(prompt_tokens), SUM(completion_tokens), SUM(cached_tokens),"
    " SUM(seconds) FROM calls {where} GROUP BY stage, model ORDER BY MIN(id)"
)
# The first answer stands: two runs that share a ledger may have asked the same at the same time.
_INSERT_REPLY = (
    "INSERT OR IGNORE INTO replies (key, call, seed, text, reasoning, finish_reason, instructed)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)


def _connect(path: Path) -> sqlite3.Connection:
    connection = None
    try:
        connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            connection.close()
            raise StoreError(f"the ledger {path} is of version {version}; this lpt writes version {_VERSION}")
        connection.executescript(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {_VERSION}")
    except sqlite3.Error as error:
        if connection:
            connection.close()
        raise _store_error(path, error) from error
    return connection


def _settle(writes: list[_Write], whole: list[bool], broken: StoreError | None) -> None:
    """Tell each loop once about all of its writes: waking a loop costs more than the news."""

    def tell(ready: list[tuple["asyncio.Future[bool]", bool]]) -> None:
        for done, kept in ready:
            if not done.done():
                done.set_exception(broken) if broken else done.set_result(kept)

    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[bool], bool]]] = {}
    for write, kept in zip(writes, [*whole, *[False] * len(writes)], strict=False):
        by_loop.setdefault(write.loop, []).append((write.done, kept))
    for loop, ready in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, ready)


def _store_error(path: Path, error: Exception) -> StoreError:
    text = str(error)
    if "full" in text:
        advice = "the disk is full: make room and run the same command again; what was committed is kept"
    elif "readonly" in text or "unable to open" in text:
        advice = "it cannot be written: check the folder's permissions"
    elif "malformed" in text or "not a database" in text:
        advice = "it is damaged: move it away to start anew, or restore it from a copy"
    elif "locked" in text:
        advice = "another process has held it for a minute: wait for it, or stop it"
    else:
        advice = "run the same command again; what was committed is kept"
    return StoreError(f"the ledger {path} failed ({text}): {advice}")
