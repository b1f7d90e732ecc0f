"""Comma-, semicolon- or tab-separated tables with a header, as spreadsheets and pandas write them."""

import codecs
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from lpt.captions.base import Bad, Found, Row, images_of, section
from lpt.captions.jsonl import list_of
from lpt.captions.lines import MAX_LINE
from lpt.captions.listing import listed
from lpt.captions.paths import encodable, shown
from lpt.errors import SourceError
from lpt.settings import CaptionSettings

DELIMITERS = (",", ";", "\t")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def csv_(settings: CaptionSettings, base: Path) -> Iterator[Row | Bad]:
    """Rows of a table with the columns `image`, `caption` and, optionally, `id`.

    Raises:
        SourceError: there is no such table, or it has no header with these columns.
    """
    path = list_of(settings, base)
    columns = settings.columns
    found = records(path, (columns.image, columns.caption), section(settings))
    yield from listed(found, images_of(settings, base), columns)


def records(path: Path, needed: Sequence[str], where: str) -> Found:
    """The rows of a table by the names in its header. An empty field is one that is not there.

    Memory is bounded by one row, whatever becomes of a quotation mark that is never closed.

    Args:
        path: the file, in UTF-8. The delimiter is the one that finds the columns in the header.
        needed: columns that must be there.
        where: the section of the recipe, for what is said of it.

    Raises:
        SourceError: it cannot be read, or lacks a column.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    try:
        with path.open("rb") as start:
            if start.read(2) in _UTF16:
                raise SourceError(f"{path} is UTF-16: save it as UTF-8")
        # What is not UTF-8 is kept apart as half a surrogate pair, so that one bad row costs no other.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            delimiter, header = _header(path, file, needed, where)
            yield from _rows(file, delimiter, header)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error


def _header(path: Path, file: TextIO, needed: Sequence[str], where: str) -> tuple[str, list[str]]:
    line = next((line for line in _lines(file) if line.strip()), "")
    best: list[str] = []
    for delimiter in DELIMITERS:
        try:
            names = [name.strip() for name in next(csv.reader([line], delimiter=delimiter, strict=True), [])]
        except csv.Error:
            continue
        if all(names.count(name) == 1 for name in needed):
            return delimiter, names
        best = max(best, names, key=len)
    if not line:
        raise SourceError(f"{path} is empty: its first line should name the columns, such as {','.join(needed)}")
    if twice := [name for name in needed if best.count(name) > 1]:
        raise SourceError(f"{path} has more than one column `{twice[0]}`: rename the others")
    raise missing(path, needed, best, where)


def missing(path: Path, needed: Sequence[str], there: Sequence[str], where: str) -> SourceError:
    """The error that says which columns a table lacks, and which it has."""
    lacking = ", ".join(f"`{name}`" for name in needed if name not in there)
    has = ", ".join(f"`{shown(name, 40)}`" for name in there[:30]) or "none"
    return SourceError(
        f"{path} has no column {lacking}; there are: {has}. Say what yours are called, "
        f"as in {where}.columns = {{ {_NAMES[where]} }} (csv: the first line must name them)"
    )


_NAMES = {"captions": 'image = "file", caption = "text"', "questions": 'image = "file", answer = "label"'}


def _rows(file: TextIO, delimiter: str, header: list[str]) -> Found:
    reader = csv.reader(_lines(file), delimiter=delimiter, strict=True)
    number = 0
    while True:
        number += 1
        place = f"row {number}"
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield place, Bad(place, "malformed-csv", f"{place}: {error}")
            continue
        if not any(fields):
            number -= 1  # an empty line is no row
            continue
        if len(fields) != len(header):
            why = f"{place}: it has {len(fields)} fields, and the header has {len(header)}"
            yield place, Bad(place, "malformed-csv", why)
        elif not all(map(encodable, fields)):
            yield place, Bad(place, "not-utf8", f"{place}: it is not UTF-8")
        else:
            yield place, {name: field for name, field in zip(header, fields, strict=True) if field}


def _lines(file: TextIO) -> Iterator[str]:
    # A limit for what has no line ends; the reader turns a field down that is longer.
    return iter(lambda: file.readline(MAX_LINE), "")
