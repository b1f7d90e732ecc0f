"""Rows out of the files that data sets come in: JSON, JSON Lines, Parquet."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from lpt.captions import parquet
from lpt.captions.base import Bad
from lpt.captions.lines import objects
from lpt.errors import SourceError

Rows: TypeAlias = Iterator[tuple[str, "dict[str, Any] | Bad"]]

ENDINGS = (".json", ".jsonl", ".parquet")


def files(path: Path) -> list[Path]:
    """The files that are meant: the path itself, or those in a folder of that name.

    Raises:
        SourceError: there is none.
    """
    if path.is_dir():
        inside = (p for p in path.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
        found = sorted(p for p in inside if not any(part.startswith(".") for part in p.relative_to(path).parts))
        if not found:
            raise SourceError(f"{path} holds no file that ends in {', '.join(ENDINGS)}")
        return found
    if not path.is_file():
        raise SourceError(f"there is no {path}")
    return [path]


def rows(path: Path) -> Rows:
    """The rows of one file, each with its place in words. A JSON array is read whole; the others a row at a time.

    Raises:
        SourceError: it cannot be read.
    """
    name = path.name
    if path.suffix.lower() == ".parquet":
        for place, row in parquet.records(path, (), None, "captions"):
            yield f"{name} {place}", row
    elif _is_lines(path):
        for number, found in objects(path):
            yield f"{name} line {number}", found
    else:
        for number, value in enumerate(_array(path), 1):
            place = f"{name} row {number}"
            yield place, value if isinstance(value, dict) else Bad(place, "not-an-object", f"{place}: no object")


def _is_lines(path: Path) -> bool:
    """Whether a file is a list of objects, a line each, and not one array."""
    try:
        with path.open("rb") as file:
            start = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
    return path.suffix.lower() == ".jsonl" or not start.startswith(b"[")


def _array(path: Path) -> list[Any]:
    try:
        return msgspec.json.decode(path.read_bytes().removeprefix(b"\xef\xbb\xbf"), type=list[Any])
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(f"{path} is not a JSON array of rows: {error}") from error
