"""Lists: one JSON object a line."""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from lpt.captions.base import Bad, Fault
from lpt.captions.paths import decoded
from lpt.errors import SourceError

MAX_LINE = 16 * 1024 * 1024
"""Bytes. A caption has at most 100,000 characters: a longer line is no line of such a list."""

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def objects(path: Path) -> Iterator[tuple[int, dict[str, Any] | Bad]]:
    """The objects of a list with their line numbers, from 1; blank lines are none.

    Memory is bounded by one line.

    Raises:
        SourceError: the file cannot be read, or is no such list as a whole.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE):
                number += 1
                whole = line.endswith(b"\n") or len(line) < MAX_LINE
                while not whole:  # skip the rest of it
                    rest = file.readline(MAX_LINE)
                    whole = rest.endswith(b"\n") or not rest
                    line = b""
                if number == 1:
                    _see_that_it_is_a_list(path, line)
                if line == b"":
                    yield number, _bad(number, "line-too-long", f"it has more than {MAX_LINE:,} bytes")
                elif line.strip():
                    yield number, _object(number, line)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error


def _see_that_it_is_a_list(path: Path, first: bytes) -> None:
    if first.startswith(_UTF16):
        raise SourceError(f"{path} is UTF-16: save it as UTF-8")
    if first.removeprefix(codecs.BOM_UTF8).strip().startswith(b"["):
        raise SourceError(
            f"{path} is a JSON array; one object a line is needed: `jq -c '.[]' {path.name}` makes it so"
        )


def _object(number: int, line: bytes) -> dict[str, Any] | Bad:
    text = decoded(line)
    if isinstance(text, Fault):
        return _bad(number, text.reason, text.detail)
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        return _bad(number, "malformed-json", why)
    return found if isinstance(found, dict) else _bad(number, "not-an-object", "it is JSON, but not an object")


def _bad(number: int, reason: str, why: str) -> Bad:
    return Bad(f"line {number}", reason, f"line {number}: {why}")


def name_of(row: dict[str, Any], field: str, otherwise: str) -> str | Fault:
    """A row's own name: a text or a whole number; `otherwise` where it has none."""
    name = row.get(field)
    if name is None:
        return otherwise
    if isinstance(name, str) and name.strip():
        return name
    if isinstance(name, int) and not isinstance(name, bool):
        return str(name)
    return Fault("bad-id", f"`{field}` is neither a text nor a whole number")


def text_of(row: dict[str, Any], *fields: str) -> str | Fault:
    """The caption under the first of the fields that is there."""
    found = next((row[field] for field in fields if row.get(field) is not None), None)
    if found is None:
        return Fault("missing-caption", f"there is no `{'`, `'.join(fields)}`")
    return found if isinstance(found, str) else Fault("caption-not-text", "the caption is not a text")
