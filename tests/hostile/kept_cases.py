"""What a run keeps, as somebody would make it who means harm; and what readers of it once failed on."""

import json
import sqlite3
import tempfile
import zlib
from contextlib import closing
from pathlib import Path

from tests.hostile.kept import SEEDS, files

DEEP = 100_000
_NESTED = b'{"a":' * DEEP + b"1" + b"}" * DEEP
_ENDLESS = "WITH RECURSIVE x(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM x) SELECT"
_LEDGER = SEEDS["ledger file"][0]
_HUGE = "hex(zeroblob(900000000))"


def changed(seed: bytes, *statements: str, values: tuple[object, ...] = ()) -> bytes:
    """A SQLite file in which somebody has been at work."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(seed)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA writable_schema = ON")
            for statement in statements:
                connection.execute(statement, values if "?" in statement else ())
        return path.read_bytes()


def _text(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


def _manifest(name: str, entry: object) -> bytes:
    listed = json.loads(files()["tables/manifest.json"])
    listed["tables"][name] = entry
    return json.dumps(listed).encode()


_ENTRY = {"rows": 1, "bytes": 4, "blake2b": "0" * 32}
_ASKED = "SELECT key, call, seed, text, reasoning, finish_reason, instructed, sum FROM kept"
_BOMB = zlib.compress(b" " * (300 << 20), 9)

CASES: dict[str, dict[str, bytes]] = {
    "ledger file": {
        "calls without end": changed(
            _LEDGER,
            "ALTER TABLE calls RENAME TO kept",
            f"CREATE VIEW calls AS {_ENDLESS} i AS id, '' AS stage, '' AS model, '' AS record, i AS outcome FROM x",
        ),
        "replies that compute": changed(
            _LEDGER,
            "ALTER TABLE replies RENAME TO kept",
            f"CREATE VIEW replies AS {_ASKED.replace('text', f'{_HUGE} AS text')}",
        ),
        "a column that computes": changed(
            _LEDGER, f"ALTER TABLE calls ADD COLUMN more TEXT GENERATED ALWAYS AS ({_HUGE}) VIRTUAL"
        ),
        "an index that computes": changed(
            _LEDGER,
            f"INSERT INTO sqlite_master SELECT 'index', 'i', 'calls', rootpage,"
            f" 'CREATE INDEX i ON calls (length({_HUGE}))' FROM sqlite_master WHERE name = 'damage'",
        ),
        "a trigger": changed(
            _LEDGER, f"CREATE TRIGGER t AFTER INSERT ON replies BEGIN {_ENDLESS} COUNT(*) FROM x; END"
        ),
        "a request that unpacks to too much": changed(
            _LEDGER, "UPDATE calls SET request = ? WHERE id = 1", values=(_BOMB,)
        ),
        "another text under its key": changed(_LEDGER, "UPDATE replies SET text = 'never said'"),
        "numbers that are words": changed(
            _LEDGER, "UPDATE calls SET attempts = 'many', prompt_tokens = 'few', started = X'00'"
        ),
        "a request of another form": changed(
            _LEDGER, "UPDATE calls SET request = ?", values=(zlib.compress(b'{"messages": [7]}'),)
        ),
        "a request that is nested": changed(
            _LEDGER, "UPDATE calls SET request = ?", values=(zlib.compress(_NESTED),)
        ),
        "a newer version": changed(_LEDGER, "PRAGMA user_version = 77"),
        "an older version": changed(_LEDGER, "PRAGMA user_version = 1"),
        "no version": changed(_LEDGER, "PRAGMA user_version = 0"),
        "a name that is no UTF-8": _text(_LEDGER, b"CREATE TABLE calls", b"CREATE TABLE \xff\xfells"),
        "a column that is lost": _text(_LEDGER, b"completion_tokens INTEGER", b"complexion_tokens INTEGER"),
        "a word that is turned": _text(_LEDGER, b"reasoning TEXT", b"reasoninh TEXT"),
    },
    "ledger log": {"the head alone": SEEDS["ledger log"][0][:32], "zeros": bytes(200_000)},
    "account": {
        "rows without end": changed(
            SEEDS["account"][0],
            "ALTER TABLE came RENAME TO kept",
            f"CREATE VIEW came AS {_ENDLESS} i AS number, '' AS caption, '' AS essence, 1 AS whole FROM x",
        ),
        "rows that are words": changed(SEEDS["account"][0], "UPDATE came SET questions = 'many'"),
        "rows that are not there": changed(SEEDS["account"][0], "UPDATE came SET thoughts = 1000000000000"),
        "rows below none": changed(SEEDS["account"][0], "UPDATE came SET questions_at = -1"),
        "drops that are nested": changed(SEEDS["account"][0], "UPDATE came SET drops = ?", values=(b"[" * DEEP,)),
        "a name that is no UTF-8": _text(SEEDS["account"][0], b"CREATE TABLE came", b"CREATE TABLE ca\xccme"[:17]),
    },
    "intake": {
        "files without end": changed(
            SEEDS["intake"][0],
            "DROP TABLE files",
            f"CREATE VIEW files AS {_ENDLESS} '' AS place, i AS stat, '' AS image, '' AS name FROM x",
        ),
        "a name that is no UTF-8": _text(SEEDS["intake"][0], b"CREATE TABLE about", b"CREATE TABLE ab\xd5ut"),
    },
    "manifest": {
        "a name that leads out, and is gone": _manifest("../../../outside", None),
        "a name that leads to the folder above, and is gone": _manifest("../other", None),
        "a name that leads out": _manifest("../../../outside", _ENTRY),
        "a checksum that leads out": _manifest("drops", _ENTRY | {"blake2b": "/../../../../outside.parquet"}),
        "a checksum of another length": _manifest("drops", _ENTRY | {"blake2b": "0" * 31 + "\n"}),
        "a name without end": _manifest("drops" * 100, _ENTRY),
        "nested": _NESTED,
        "a checksum that is nested": b'{"tables": {"drops": ' + b"[" * DEEP,
    },
    "state": {"nested": _NESTED, "a length below none": b'{"complete": true, "images": -1, "of": -1, "until": ""}'},
    "grade jsonl": {
        "nested beside": b'{"output": "A", "options": ["a"], "more": ' + b"[" * DEEP,
        "more options than letters": b'{"output": "A", "options": ' + json.dumps(["a"] * 99).encode() + b"}",
    },
    "table captions": {
        "a text that is no UTF-8": _text(SEEDS["table captions"][0], b"jsonl", b"js\xffnl"),
        "no footer": b"PAR1" * 3,
    },
}
