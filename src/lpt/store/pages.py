"""The rows of a SQLite file without SQLite: what is whole of a file that SQLite itself refuses.

SQLite finds rows from the first page down; where that page, or one on the way, is gone, so is everything below.
But every leaf says of itself that it is one and where its rows begin, so leaves can be read one by one, wherever
they stand, also those that are still in the write-ahead log. What comes out is to be checked by whoever knows what
the rows should hold: a page that was overwritten may hold anything.

The format: https://www.sqlite.org/fileformat2.html
"""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

Value: TypeAlias = int | float | bytes | str | None
Row: TypeAlias = tuple[int, list[Value]]
"""A row's number, and its columns."""

PAGE_SIZE = 4096
"""What a file is taken to have whose first page no longer says."""

_MAGIC = b"SQLite format 3\x00"
_LEAF = 13
_WAL_MAGIC = (0x377F0682, 0x377F0683)
_WAL_HEADER, _FRAME_HEADER = 32, 24
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


class Broken(ValueError):
    """A page that does not hold what it says."""


class Pages:
    """The pages of a database and of its log."""

    def __init__(self, database: BinaryIO, log: BinaryIO | None) -> None:
        self._database = database
        self._log = log
        head = database.read(100)
        self.size, reserved = PAGE_SIZE, 0
        if head.startswith(_MAGIC) and len(head) == 100:
            self.size = struct.unpack(">H", head[16:18])[0]
            self.size = 65536 if self.size == 1 else self.size
            reserved = head[20]
        if self.size < 512 or self.size & (self.size - 1) or reserved > 64:
            self.size, reserved = PAGE_SIZE, 0
        self._usable = self.size - reserved
        self._most = sum(file.seek(0, os.SEEK_END) for file in (database, log) if file)
        self._frames = list(self._logged())
        self._newest = dict(self._frames)

    def rows(self) -> Iterator[tuple[Row, ...]]:
        """Every row that can be made out, in each way that it can be read; the same row may come several times."""
        number = 0
        while page := self._at(self._database, number * self.size):
            number += 1
            yield from self._cells(page, 100 if number == 1 else 0)
        for number, offset in self._frames:
            assert self._log
            yield from self._cells(self._at(self._log, offset), 100 if number == 1 else 0)

    def _logged(self) -> Iterator[tuple[int, int]]:
        """The pages in the log, oldest first: their numbers, and where they stand.

        Those of a transaction that was not committed are among them: a reply that had come is worth having.
        """
        if self._log is None:
            return
        self._log.seek(0)
        head = self._log.read(_WAL_HEADER)
        if len(head) < _WAL_HEADER:
            return
        magic, _, size = struct.unpack(">III", head[:12])
        if magic not in _WAL_MAGIC or size != self.size:
            return
        offset = _WAL_HEADER
        while True:
            self._log.seek(offset)
            frame = self._log.read(_FRAME_HEADER)
            if len(frame) < _FRAME_HEADER or frame[8:16] != head[16:24]:  # what is left of an earlier log
                return
            yield struct.unpack(">I", frame[:4])[0], offset + _FRAME_HEADER
            offset += _FRAME_HEADER + size

    def _at(self, file: BinaryIO, offset: int) -> bytes:
        file.seek(offset)
        return file.read(self.size)

    def _page(self, number: int, *, newest: bool) -> bytes:
        if newest and number in self._newest and self._log:
            return self._at(self._log, self._newest[number])
        return self._at(self._database, (number - 1) * self.size) if number > 0 else b""

    def _cells(self, page: bytes, start: int) -> Iterator[tuple[Row, ...]]:
        if len(page) < start + 8 or page[start] != _LEAF:
            return
        (count,) = struct.unpack_from(">H", page, start + 3)
        for at in range(start + 8, min(start + 8 + 2 * count, len(page) - 1), 2):
            (pointer,) = struct.unpack_from(">H", page, at)
            read = []
            for newest in (True, False):
                row = _tried(lambda p=pointer, n=newest: self._cell(page, p, newest=n))  # type: ignore[misc]
                if row is not None and row not in read:
                    read.append(row)
            if read:
                yield tuple(read)

    def _cell(self, page: bytes, at: int, *, newest: bool) -> Row:
        length, at = _varint(page, at)
        row, at = _varint(page, at)
        if not 0 < length <= self._most:
            raise Broken
        usable = self._usable
        local = length
        if length > usable - 35:
            least = (usable - 12) * 32 // 255 - 23
            local = least + (length - least) % (usable - 4)
            local = local if local <= usable - 35 else least
        payload = page[at : at + local]
        if length > local:
            (follows,) = struct.unpack_from(">I", page, at + local)
            parts, have = [payload], local
            while have < length:
                more = self._page(follows, newest=newest)
                if len(more) < usable:
                    raise Broken
                (follows,) = struct.unpack_from(">I", more)
                parts.append(more[4:usable])
                have += usable - 4
            payload = b"".join(parts)[:length]
        if len(payload) < length:
            raise Broken
        return row, _record(payload)


def begins_whole(path: Path) -> bool:
    """Whether a file that is there begins as a SQLite file does; an empty one is none yet, and may become one.

    Raises:
        OSError: the disk cannot read it.
    """
    if not path.is_file():
        return True
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) in (b"", _MAGIC)


def read(path: Path) -> Iterator[tuple[Row, ...]]:
    """The rows of a file and of the log beside it, of whatever tables they are.

    Raises:
        OSError: the disk cannot read it.
    """
    log = path.with_name(f"{path.name}-wal")
    with path.open("rb") as database:
        if log.exists():
            with log.open("rb") as file:
                yield from Pages(database, file).rows()
        else:
            yield from Pages(database, None).rows()


def _tried(parse: Callable[[], Row]) -> Row | None:
    try:
        return parse()
    except (Broken, IndexError, struct.error, UnicodeDecodeError):
        return None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends."""
    value = 0
    for i in range(8):
        byte = data[at + i]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    value = value << 8 | data[at + 8]
    return (value - (1 << 64) if value >= 1 << 63 else value), at + 9


def _record(payload: bytes) -> list[Value]:
    head, at = _varint(payload, 0)
    values: list[Value] = []
    body = head
    while at < head:
        kind, at = _varint(payload, at)
        value, body = _value(payload, kind, body)
        values.append(value)
    if at != head or body != len(payload):
        raise Broken
    return values


def _value(payload: bytes, kind: int, at: int) -> tuple[Value, int]:
    if kind == 0:
        return None, at
    if kind in (8, 9):
        return kind - 8, at
    if kind in _INTEGERS:
        end = at + _INTEGERS[kind]
        return int.from_bytes(payload[at:end], "big", signed=True), end
    if kind == 7:
        return float(struct.unpack_from(">d", payload, at)[0]), at + 8
    if kind < 12:
        raise Broken
    end = at + (kind - 12) // 2
    if end > len(payload):
        raise Broken
    return (payload[at:end].decode() if kind % 2 else payload[at:end]), end
