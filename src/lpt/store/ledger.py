"""The ledger: every request ever made and every reply that came, in one SQLite file.

A reply is kept under a key that says exactly what was asked: the canonical request with images by their hashes,
the model and its version, the sampling, the sample's seed. Where the server is does not matter. Asking what was
asked before is a look-up; so running again is resuming, and raising `samples` from 3 to 5 asks for two more.

One thread writes. What arrives while a commit is under way goes into the next one (group commit), so the cost of
a commit is shared by all the replies that wait for it. WAL lets others read meanwhile, and a killed process loses
nothing that was committed.
"""

import asyncio
import contextlib
import queue
import sqlite3
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import msgspec

from lpt.errors import StoreError
from lpt.models.base import Reply, Request
from lpt.records import digest
from lpt.settings import ModelSettings
from lpt.store.lock import hold_ledger, release_ledger
from lpt.store.pages import PAGE_SIZE, begins_whole
from lpt.store.reading import LedgerReader, is_damage, store_error
from lpt.store.rescue import finish, rescue, suspect
from lpt.store.schema import INSERT_CALL, INSERT_REPLY, checksum, prepare
from lpt.store.shape import FAILS

_GROUP_SECONDS = 0.001
_SWITCH_SECONDS = 0.0002


class _Write(msgspec.Struct, frozen=True):
    call: tuple[Any, ...]
    replies: list[tuple[Any, ...]]
    damaged: list[tuple[bytes]]
    """The keys of replies in the file that these replace, because they are not what was written."""
    body: bytes
    done: "asyncio.Future[bool]"
    """True when every reply is kept as it came; False when the ledger had one of the kind already."""
    loop: asyncio.AbstractEventLoop


def canonical(request: Request, model: ModelSettings, template: str = "") -> bytes:
    """Everything about a request that its answer may depend on, but for the seed, as sorted JSON.

    Left out: the URL, headers and keys (where a model is does not change what it is), `stage`, `record`, `rank`
    and `affinity` (who asks, and when), and the dialect of continuing a turn, since all true ones mean the same;
    to be asked in words is another thing, and is in. So is the template (its key) that renders a turn to be
    continued where the recipe, not the server, says which: another one is another text.
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
        if template:
            body["template"] = template
    if request.schema is not None:
        body["schema"] = request.schema
    if model.extra:
        body["extra"] = model.extra
    return msgspec.json.encode(body, order="deterministic")


def reply_key(body: bytes, seed: int) -> str:
    """The ledger's key of one sample: 32 hexadecimal digits."""
    return digest("reply", body, seed)


class Ledger(LedgerReader):
    """An open ledger. Look-ups are synchronous (microseconds); writes are awaited until they are committed."""

    def __init__(self, path: Path, user: str = "") -> None:
        """Open a ledger, for this process alone; make it, if it is not there. A damaged one is rescued first.

        Args:
            path: the file.
            user: for what it is held, told to whoever wants it meanwhile.

        Raises:
            RunError: another process has it open.
            StoreError: it cannot be written, is of a newer version, or nothing in it can be read.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the ledger's folder {path.parent} cannot be made: {error.strerror}") from error
        self._lock = hold_ledger(path, user)
        try:
            super().__init__(path, _opened(path))
            writing = _connect(path)
        except BaseException:
            release_ledger(path, self._lock)
            raise
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._broken: StoreError | None = None
        self._writer = threading.Thread(target=self._write_forever, args=[writing], name="ledger", daemon=True)
        # The writer needs the interpreter for microseconds, some times a commit; by default a busy event loop hands
        # it over only every 5 ms, and every reply waits for its commit (measured: a quarter of the client's rate).
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_SECONDS))
        self._writer.start()

    def __enter__(self) -> "Ledger":
        return self

    def close(self) -> None:
        """Commit what is queued and close the file."""
        self._queue.put(None)
        self._writer.join()
        super().close()
        release_ledger(self.path, self._lock)

    async def put(self, request: Request, model: str, body: bytes, reply: Reply) -> bool:
        """Keep a reply; returns when it is committed. Choices carry their keys.

        Returns:
            Whether all of it was kept. An answer that is there already stands.

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
                checksum(
                    bytes.fromhex(choice.key),
                    request.seed + i,
                    choice.text.encode(),
                    None if choice.reasoning is None else choice.reasoning.encode(),
                    choice.finish_reason.encode(),
                    choice.instructed,
                ),
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
        damaged = [(key,) for key, *_ in replies if key.hex() in self.damaged] if self.damaged else []
        self._queue.put(_Write(call, replies, damaged, body, done, loop))
        return await done

    def _failed(self, error: Exception) -> StoreError:
        if is_damage(error):
            with contextlib.suppress(OSError):
                suspect(self.path).touch()  # the next run looks at all of it, and rescues what is whole
        return super()._failed(error)

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
                        call = connection.execute(INSERT_CALL, (*write.call, zlib.compress(write.body, 1)))
                        rows = [(reply[0], call.lastrowid, *reply[1:]) for reply in write.replies]
                        if write.damaged:
                            self._replace(connection, write.damaged)
                        whole.append(connection.executemany(INSERT_REPLY, rows).rowcount == len(rows))
            except Exception as error:  # noqa: BLE001 (whatever it is, those who wait must hear of it)
                self._broken = self._failed(error)
            _settle(writes, whole, self._broken)
        connection.close()

    def _replace(self, connection: sqlite3.Connection, keys: list[tuple[bytes]]) -> None:
        connection.executemany("DELETE FROM replies WHERE key = ?", keys)
        told = [(time.time(), f"reply {key.hex()} was damaged, and was asked for again") for (key,) in keys]
        connection.executemany("INSERT INTO damage VALUES (?, ?)", told)
        self.damaged.difference_update(key.hex() for (key,) in keys)


def _opened(path: Path) -> sqlite3.Connection:
    """A connection to a ledger that is whole: rescued, where it is not."""
    log = path.with_name(f"{path.name}-wal")
    try:
        finish(path)
        # Whoever had it open was killed, or met damage: worth a look at every page.
        unclean = suspect(path).exists() or (log.exists() and log.stat().st_size > 0)
        if not begins_whole(path):  # SQLite is not to see it: closing it, it would throw the log away
            rescue(path)
    except OSError as error:
        raise StoreError(f"the ledger {path} cannot be opened ({error.strerror}): see to the disk") from error
    try:
        connection = _connect(path)
        if not unclean or connection.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)]:
            suspect(path).unlink(missing_ok=True)
            return connection
        connection.close()
    except FAILS as error:
        raise store_error(path, error) from error
    except StoreError as error:
        if not isinstance(error.__cause__, FAILS) or not is_damage(error.__cause__):
            raise
    rescue(path)
    return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    connection = None
    try:
        connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")  # of a new one; a rescue counts on it
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # not even a loss of power takes a reply away
        prepare(path, connection)
    except (*FAILS, StoreError) as error:
        if connection:
            connection.close()
        if isinstance(error, StoreError):
            raise
        raise store_error(path, error) from error
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
