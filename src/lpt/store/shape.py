"""Whether a SQLite file has the shape that we gave it, and holds nothing that computes.

A file that comes from somewhere else may say that `calls` is a view without an end, or that a column is made by a
function that takes all memory: to look something up would be to run it. A bit that has turned in the schema is
found by the same look. Whatever else somebody keeps beside our tables is let be, as long as it only holds.
"""

import re
import sqlite3

FAILS = (sqlite3.Error, UnicodeDecodeError)
"""What comes of a file that is damaged; the latter where a text in it, or what SQLite says of it, is no UTF-8."""

_COMPUTES = {"as", "check", "generated", "virtual", "where"}


def strange(connection: sqlite3.Connection, tables: str, *, besides: str = "") -> str:
    """What a file holds that ours do not, or lacks; empty where nothing is wrong.

    Args:
        connection: to the file.
        tables: the SQL that makes ours.
        besides: SQL of an earlier version, for tables that may look like that as well; they may be missing.

    Raises:
        sqlite3.Error, UnicodeDecodeError: the file cannot be read.
    """
    ours, older = _by_name(tables), _by_name(besides)
    missing = {name for name in ours if not besides or name in older}
    for kind, name, of, sql in connection.execute("SELECT type, name, tbl_name, sql FROM main.sqlite_master"):
        if not all(isinstance(text, str) for text in (kind, name, of)) or not isinstance(sql, (str, type(None))):
            return "a schema that is no text"
        words = _words(sql or "")
        if name.lower() in ours:
            missing.discard(name.lower())
            if kind != "table" or words not in (ours[name.lower()], older.get(name.lower())):
                return f"another {kind} {name}"
        elif kind == "view":
            continue  # nobody looks at it
        elif kind == "trigger" or _COMPUTES & set(words) or (kind == "index" and (sql or "").count("(") > 1):
            return f"the {kind} {name} of {of}"
    return f"no table {min(missing)}" if missing else ""


def _by_name(tables: str) -> dict[str, list[str]]:
    found = {}
    for statement in tables.split(";"):
        words = _words(statement.replace("IF NOT EXISTS ", ""))
        if words:
            found[words[2]] = words
    return found


def _words(sql: str) -> list[str]:
    return re.findall(r"\w+", sql.lower())
