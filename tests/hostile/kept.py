"""What a run keeps, as sound files and as readers of them: the ledger and its log, tables, manifest, accounts.

They are ours, but lie on disks that fail, and are copied from others' runs. Beside the contract of all readers:
no reply that the ledger did not write is ever believed, and nothing outside of the run is touched.
"""

import contextlib
import io
import json
import os
import sqlite3
import tempfile
import zlib
from collections.abc import Callable
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import Any

import polars as pl

from lpt.captions.known import Known
from lpt.cli.grade import grade
from lpt.curate.composed import stands
from lpt.pipeline import State
from lpt.recipe import Recipe
from lpt.records import Caption, Drop, LongThought, Question, Thought, digest
from lpt.store import manifest
from lpt.store.finished import Finished, Journal, Span
from lpt.store.ledger import Ledger
from lpt.store.reading import LedgerReader
from lpt.store.rescue import examine, repair
from lpt.store.run import Run
from lpt.store.schema import INSERT_CALL, INSERT_REPLY, checksum, prepare
from lpt.store.tables import TABLES, damaged_table
from tests.hostile.scratch import Reader, owning_up, scratch
from tests.scripted import caption, long_thought, question, thought

TEXTS = ["A short one.", "Ein längerer. " * 40, "One over several pages. " * 500, ""]
REPLIES = {digest("reply", i): TEXTS[i % len(TEXTS)] for i in range(24)}
"""What each reply of the ledgers here says, by its key."""

FINGERPRINT = "made with this"
KIND: dict[str, type[Any]] = {
    "captions": Caption,
    "questions": Question,
    "long_thoughts": LongThought,
    "drops": Drop,
}


# --- sound files -------------------------------------------------------------------------------------------------


def _fill(connection: sqlite3.Connection) -> None:
    """The rows that the ledger's writer would write. It is not used: it brings its log home when it closes."""
    keys = list(REPLIES)
    for call in range(0, len(keys), 3):
        request = zlib.compress(json.dumps({"model": "m", "messages": [], "call": call}).encode(), 1)
        row = ("think", "m", f"record {call}", 3, "ok", "", 1, 1.5, 0.25, 10, 20, 5, request)
        number = connection.execute(INSERT_CALL, row).lastrowid
        for seed, key in enumerate(keys[call : call + 3]):
            name, text = bytes.fromhex(key), REPLIES[key]
            told = checksum(name, seed, text.encode(), None if seed else b"Hmm.", b"stop", 0)
            reasoning = None if seed else "Hmm."
            connection.execute(INSERT_REPLY, (name, number, seed, text, reasoning, "stop", 0, told))
    failed = ("think", "m", "record x", 1, "timeout", "silent", 4, 1.5, 9.0, 0, 0, 0, zlib.compress(b"{}"))
    connection.execute(INSERT_CALL, failed)


@cache
def ledgers() -> tuple[bytes, bytes, bytes]:
    """A whole ledger; and one whose replies all stand in the log beside it: the file, and the log."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            prepare(path, connection)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            empty = path.read_bytes()
            _fill(connection)
            log = path.with_name(f"{path.name}-wal").read_bytes()
        return path.read_bytes(), empty, log


def _run(folder: Path) -> Run:
    """A run with tables, a manifest, and an account of what came all the way."""
    one = caption()
    asked = question(caption=one.id, image=one.image)
    of = {"question": asked.id, "image": one.image}
    short = [thought(id=digest("short", i), index=i, **of) for i in range(3)]
    long = [long_thought(id=digest("long", i), index=i, thought=short[0].id, **of) for i in range(5)]
    left = Drop.make("think", short[0].id, one.image, "unparsed", "no answer")
    run = Run.create(folder, Recipe.parse('[captions]\nsource = "folder"\npath = "images"\n'))
    with run.writing() as tables:
        tables.open("captions", Caption).write([one])
        tables.open("questions", Question).write([asked])
        tables.open("thoughts", Thought).write(short)
        tables.open("long_thoughts", LongThought).write(long)
        tables.open("drops", Drop).write([left])
        tables.take_away("sft")
    with Journal(run) as journal:
        journal.add(one.id, "essence", (1, 3, 5), (1, 1), [left])
        journal.seal(FINGERPRINT, "")
    return run


@cache
def files() -> dict[str, bytes]:
    """Every file of such a run, by its path within."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "run"
        _run(root)
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def laid_out(folder: Path) -> Run:
    for name, data in files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return Run.open(folder)


def _account() -> bytes:
    (found,) = (data for name, data in files().items() if name.startswith("finished."))
    return found


@cache
def _intake() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "intake.sqlite"
        with Known(path) as known:
            known.remember(Path(folder) / "a.jpg", os.stat(folder), "0" * 32, "a.jpg")  # noqa: PTH116
        return path.read_bytes()


# --- readers -----------------------------------------------------------------------------------------------------


def _ledger(folder: Path) -> None:
    """Look at a ledger in all ways, as it is and as it is after a rescue."""
    path = folder / "ledger.sqlite"
    if path.exists() or path.with_name(f"{path.name}-wal").exists():
        with owning_up():
            examine(path)
        with owning_up(), LedgerReader(path) as reader:
            _asked(reader)
    with owning_up(), Ledger(path) as ledger:
        _asked(ledger)
    with owning_up():
        repair(path)
        assert examine(path).sound, "repaired, and still not whole"


def _asked(ledger: LedgerReader) -> None:
    known = {}
    with owning_up():
        known = ledger.get(list(REPLIES))
    for key, choice in known.items():
        assert choice.text == REPLIES[key], "a reply that was never given"
    looks: list[Callable[[], object]] = [
        ledger.spent,
        lambda: ledger.spent(REPLIES),
        ledger.failures,
        ledger.last_failure,
        ledger.mark,
        lambda: ledger.holds("1 1.5 think record 0"),
        lambda: ledger.of_record("think", "record 0"),
        *(partial(ledger.lookup, key) for key in list(REPLIES)[:4]),
    ]
    for look in looks:
        with owning_up():
            look()


def ledger_file(data: bytes) -> None:
    """The ledger; beside it what is left of the log of another time."""
    with scratch() as folder:
        (folder / "ledger.sqlite").write_bytes(data)
        _ledger(folder)


def ledger_log(data: bytes) -> None:
    """The log of a ledger whose process was killed."""
    with scratch() as folder:
        (folder / "ledger.sqlite").write_bytes(ledgers()[1])
        (folder / "ledger.sqlite-wal").write_bytes(data)
        _ledger(folder)


def account(data: bytes) -> None:
    """What came all the way; whoever damaged it knew to name it by its checksum."""
    with scratch() as folder:
        run = laid_out(folder / "run")
        for path in run.path.glob("finished.*.sqlite"):
            path.unlink()
        part = run.path / "part"
        part.write_bytes(data)
        part.rename(run.path / f"finished.{manifest.checksum(part)}.sqlite")
        with owning_up():
            found = Finished.open(run, FINGERPRINT, lambda _: True)
            if found:
                with found:
                    _taken_over(found)


def _taken_over(found: Finished) -> None:
    spans: list[Span | None] = [found.of(caption().id, "essence")]
    if found.captions:
        assert found.captions < 1000
        spans.append(None)
    for span in filter(None, spans):
        for _ in found.rows(span):
            pass
        assert all(isinstance(drop, Drop) for drops in found.drops(span) for drop in drops)
        assert all(count >= 0 for count in found.kept(span))


def intake(data: bytes) -> None:
    """Which images were seen: with whatever is wrong, only less is known."""
    with scratch() as folder:
        path = folder / "intake.sqlite"
        path.write_bytes(data)
        with Known(path) as known:
            file = known.file(folder / "a.jpg", folder.stat())
            assert file is None
            known.sound("1" * 32)
            known.remember(folder / "b.jpg", folder.stat(), "2" * 32)


def tables(name: str, listed: bool) -> Reader:
    """A table; `listed`, where the manifest says that it is right."""

    def reader(data: bytes) -> None:
        with scratch() as folder:
            run = laid_out(folder / "run")
            place = manifest.usual(run.tables, name)
            place.write_bytes(data)
            if listed:
                entries = manifest.load(run.tables)
                entries[name] = manifest.Entry(1, len(data), manifest.checksum(place))
                manifest.swap(run.tables, entries)
            else:
                (run.tables / manifest.NAME).unlink()
            with owning_up():
                manifest.examine(run.tables)
            with owning_up():
                for record in run.records(name, KIND[name]):
                    assert isinstance(record, KIND[name])
            with owning_up():
                try:
                    run.table(name).collect()
                except (Exception, pl.exceptions.PanicException) as error:
                    if not damaged_table(error):
                        raise

    return reader


def manifest_file(data: bytes) -> None:
    """The manifest: tables are taken and removed by it, and never anything else."""
    with scratch() as folder:
        run = laid_out(folder / "run")
        (run.tables / manifest.NAME).write_bytes(data)
        outside = folder.parent / "outside.parquet"
        outside.write_bytes(b"PAR1")
        inside = folder / "run" / "other.parquet"
        inside.write_bytes(b"PAR1")
        for look in (lambda: manifest.examine(run.tables), run.outdated, lambda: stands(run, "x")):
            with owning_up():
                look()
        for name in TABLES:
            with owning_up():
                run.table(name).collect()
        manifest.settle(run.tables)
        assert outside.exists()
        assert inside.exists()
        with owning_up(), run.writing() as written:
            written.open("drops", Drop).write([])
        with owning_up():
            assert not list(run.records("drops", Drop))


def state(data: bytes) -> None:
    """What a run last said of itself, and what its sets were made of."""
    with scratch() as folder:
        run = laid_out(folder / "run")
        (run.path / "state.json").write_bytes(data)
        (run.path / "composed.json").write_bytes(data)
        with owning_up():
            State.of_run(run)
        assert not stands(run, "x")


def graded(data: bytes) -> None:
    """`lpt grade FILE`."""
    with scratch() as folder, owning_up(), contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):
        (folder / "replies.jsonl").write_bytes(data)
        grade(str(folder / "replies.jsonl"))


READERS: dict[str, Reader] = {
    "ledger file": ledger_file,
    "ledger log": ledger_log,
    "account": account,
    "intake": intake,
    "manifest": manifest_file,
    "state": state,
    "grade jsonl": graded,
    **{f"table {name}": tables(name, listed=False) for name in KIND},
    "table that is listed": tables("long_thoughts", listed=True),
}

_LINE = {"output": "<answer>(B)</answer>", "options": {"A": "red", "B": "blue"}, "answer": "B", "format": "(X)"}

SEEDS: dict[str, list[bytes]] = {
    "ledger file": [ledgers()[0], ledgers()[1]],
    "ledger log": [ledgers()[2]],
    "account": [_account()],
    "intake": [_intake()],
    "manifest": [files()["tables/manifest.json"]],
    "state": [
        json.dumps({"complete": True, "images": 1, "of": 1, "until": "think"}).encode(),
        json.dumps({"of": "x", "made": {"sft": "0" * 32}}).encode(),
    ],
    "grade jsonl": [(json.dumps(_LINE) + "\n" + json.dumps(_LINE | {"options": ["red", "blue"]}) + "\n").encode()],
    **{f"table {name}": [files()[f"tables/{name}.parquet"]] for name in KIND},
    "table that is listed": [files()["tables/long_thoughts.parquet"]],
}
