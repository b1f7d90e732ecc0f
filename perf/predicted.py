"""How large a ledger and a log get, and what the display says, by formulas: what `perf.soak` holds its run to."""

import math
import re
import sqlite3

_PAGE, _HEAD = 4096, 8
_RANDOM_FILL = math.log(2)
"""How full the leaves of an index are whose keys come in no order (A. C. Yao, On random 2-3 trees, 1978)."""
_PATTERN = re.compile(r"([\d,]+) tokens/s")
_LEFT = re.compile(r"(?:(\d+) h )?(?:(\d+) min ?)?(?:(\d+) s )?left")


def ledger_bytes(ledger: sqlite3.Connection, sample: int = 5_000) -> int:
    """How many bytes a ledger has by its first rows.

    Rows are added at the end, and one that does not fit on a page begins the next; what is too long for any goes on
    elsewhere. The index of the keys grows at random places. One page in about three hundred leads to the others.
    """
    pages = 0.0
    for table, columns in _COLUMNS.items():
        (rows,) = ledger.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
        first = min(rows, sample)
        # Of each value its bytes, and one that says what it is; 2 + 3 say where the row is, and which.
        length = " + ".join(f"1 + COALESCE(LENGTH(CAST({column} AS BLOB)), 0)" for column in columns)
        query = f"SELECT 6 + {_FIXED[table]} + {length} FROM {table} ORDER BY rowid LIMIT {first}"
        pages += _leaves([size for (size,) in ledger.execute(query)]) * rows / first
        if table == "replies":
            pages += rows * _INDEXED / (_RANDOM_FILL * (_PAGE - _HEAD))
    return round(_PAGE * pages * (1 + 1 / 300))


_COLUMNS = {
    "calls": ("stage", "model", "record", "outcome", "error", "request"),
    "replies": ("key", "text", "reasoning", "finish_reason", "sum"),
}
_FIXED = {"calls": 8 + 8 * 2 + 2 * 3, "replies": 2 + 3 + 8 + 1}
"""Bytes of numbers, each with its kind: times are 8 bytes, seeds up to 8, rows' numbers 3, counts 1 or 2."""
_INDEXED = 2 + 1 + 3 + 16 + 3
"""Bytes of a key in the index, with its place on the page, its kinds, and the number of its row."""


def _leaves(cells: list[int]) -> float:
    """Pages that cells fill which are added at the end, with the pages that long ones go on to."""
    pages, left, more = 1, _PAGE - _HEAD, 0.0
    for cell in cells:
        if cell > _PAGE - 35:
            more += (cell - 500) / (_PAGE - 4)
            cell = 500  # noqa: PLW2901 (about what stays)
        if cell > left:
            pages, left = pages + 1, _PAGE - _HEAD
        left -= cell
    return pages + more


def log_lines(seconds: float) -> int:
    """Lines of the display in a log: each 10 s, after 10 min each sixtieth of the time, after 1 h each minute."""
    lines = min(seconds, 600) / 10
    lines += 60 * math.log(min(max(seconds, 600), 3600) / 600)
    lines += max(seconds - 3600, 0) / 60
    return round(lines) + 1


def read(line: str) -> tuple[float, float | None]:
    """What a line of the display says: tokens a second, and the seconds that are left, if any."""
    rate = _PATTERN.search(line)
    left = _LEFT.search(line)
    assert rate, line
    seconds = sum(int(left[i + 1] or 0) * unit for i, unit in enumerate((3600, 60, 1))) if left else None
    return float(rate[1].replace(",", "")), seconds
