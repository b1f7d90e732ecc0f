"""What a source yielded is looked at: each image is read, hashed and decoded once, several at a time."""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeAlias

import msgspec

from lpt.captions.base import Bad, Fault, Row
from lpt.captions.keep import keep
from lpt.captions.known import File, Known
from lpt.captions.paths import caption_text, contained, encodable, read_file, shown
from lpt.captions.pixels import MAX_BYTES, fault_of
from lpt.errors import StoreError
from lpt.records import digest

_MAX_THREADS = 8
_AHEAD = 4  # rows a thread: enough to keep it busy, few enough to stay lazy


class Seen(NamedTuple):
    """A row that can be used."""

    image: str
    """The hash of the image file's bytes."""
    path: str
    """The file, relative to the root."""
    text: str


Examined: TypeAlias = tuple[Row | Bad, Seen | Fault]
"""A row with what was seen, or with what is wrong."""


def examined(
    rows: Iterator[Row | Bad], root: Path, *, captioned: bool = True, known: Known | None = None
) -> Iterator[Examined]:
    """Examine several rows at once (decoding leaves Python's lock alone), and keep their order.

    Args:
        rows: what a source yields.
        root: the folder that images must be in, or are kept in.
        captioned: a row without a caption cannot be used.
        known: files that were seen before, and where those that are seen now are remembered.

    Raises:
        StoreError: an image could not be kept.
    """
    threads = min(_MAX_THREADS, os.cpu_count() or 1)
    real = os.path.realpath(root)
    waiting: deque[tuple[Row | Bad, Future[Seen | Fault] | Fault]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="lpt-intake") as pool:
        try:
            for row in rows:
                if isinstance(row, Bad):
                    waiting.append((row, Fault(shown(row.reason), shown(row.detail, 1000))))
                else:
                    waiting.append((row, pool.submit(_examine, row, real, captioned, known)))
                if len(waiting) > _AHEAD * threads:
                    yield _settled(*waiting.popleft())
            while waiting:
                yield _settled(*waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _settled(row: Row | Bad, found: Future[Seen | Fault] | Fault) -> Examined:
    if isinstance(row, Row) and row.data is not None:
        row = msgspec.structs.replace(row, data=None)  # the bytes have been seen to
    return row, found.result() if isinstance(found, Future) else found


def _examine(row: Row, root: str, captioned: bool, known: Known | None) -> Seen | Fault:
    text = caption_text(row.text)
    if isinstance(text, Fault):
        if captioned or text.reason != "empty-caption":
            return text
        text = ""
    if not all(encodable(name) and "\0" not in name for name in (row.source_id, row.rel, str(row.path))):
        return Fault("bad-name", "its name is not UTF-8, or holds a NUL")
    before = _unchanged(row, root, known) if known else None
    if isinstance(before, File):
        return Seen(before.image, before.name or row.rel, text)
    data = _bytes(row, root)
    if isinstance(data, Fault):
        return data
    image = digest("image", data)
    if not (known and known.sound(image)) and (fault := fault_of(data)):
        return fault
    try:
        stays = row.data is None and row.within is None
        name = "" if stays else keep(Path(root), image, data, row.path if row.within else None)
        if known and row.data is not None:
            known.remember(image, None, image, name)
        elif known and before:
            known.remember(row.path, before if stays else _linked(row.path, before), image, name)
        return Seen(image, name or row.rel, text)
    except OSError as error:
        raise StoreError(
            f"an image could not be kept in {root}: {error.strerror or error}. See to the disk, run it again"
        ) from error


def _unchanged(row: Row, root: str, known: Known) -> File | os.stat_result | None:
    """What is known of a row's file; its state, where it is new or has changed; None: it is to be read anyway."""
    if row.data is not None or _outside(row, root):
        return None
    try:
        if not contained(_home(row, root), row.path):
            return None
        stat = row.path.stat()
    except (OSError, ValueError):
        return None
    found = known.file(row.path, stat)
    gone = found is not None and row.within is not None and not (Path(root) / found.name).is_file()
    return stat if found is None or gone else found


def _linked(path: Path, before: os.stat_result) -> os.stat_result:
    """A file's state after it may have been linked: that moves the time of its last change of state."""
    after = path.stat()
    same = all(getattr(after, name) == getattr(before, name) for name in ("st_size", "st_mtime_ns", "st_ino"))
    return after if same else before


def _bytes(row: Row, root: str) -> bytes | Fault:
    if row.data is not None:
        fits = len(row.data) <= MAX_BYTES
        return row.data if fits else Fault("image-too-large", f"it has more than {MAX_BYTES:,} bytes")
    if _outside(row, root):
        return Fault("path-outside", "it is not in the images' folder under that name")
    return read_file(row.path, _home(row, root), MAX_BYTES, "image")


def _home(row: Row, root: str) -> str:
    """The folder that a row's file must be in, links followed."""
    return root if row.within is None else os.path.realpath(row.within)


def _outside(row: Row, root: str) -> bool:
    named = Path(root) / row.rel
    return row.within is None and row.path != named and os.path.realpath(row.path) != os.path.realpath(named)
