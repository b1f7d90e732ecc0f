"""A source's rows become captions and drops, in their order: every image is read, hashed and decoded once."""

import difflib
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path, PurePosixPath

from lpt.captions.base import Bad, Fault, Row, Source, images_of, root_of
from lpt.captions.docci import docci
from lpt.captions.folder import folder
from lpt.captions.jsonl import jsonl
from lpt.captions.paths import caption_text, encodable, read_file, shown
from lpt.captions.pixels import MAX_BYTES, fault_of
from lpt.captions.scenes import scenes
from lpt.errors import LptError, SourceError
from lpt.plugins import load_object
from lpt.records import Caption, Drop, digest
from lpt.settings import CaptionSettings

SOURCES: dict[str, Source] = {"docci": docci, "folder": folder, "jsonl": jsonl}
"""Beside `scenes`, which is told more than the others."""

_MAX_THREADS = 8
_AHEAD = 4  # rows a thread: enough to keep it busy, few enough to stay lazy


def read(
    settings: CaptionSettings,
    *,
    base: Path,
    run_images: Path,
    seed: int,
    validation: float,
    limit: int | None = None,
) -> Iterator[Caption | Drop]:
    """Read a caption source. Each of its rows comes out once, in its order, as a caption or as a drop.

    A caption about an image that another row has said before, and a second row of the same name, are dropped; the
    first stays. Memory grows with the number of ids alone.

    Args:
        settings: the recipe's [captions].
        base: the folder that relative paths in it are relative to.
        run_images: where scenes are rendered.
        seed: the recipe's.
        validation: the share of images that is held out.
        limit: take only this many rows, from the start of the source.

    Raises:
        SourceError: the source as a whole cannot be read.
        StoreError: a scene could not be written.
    """
    rows, root = _rows(settings, base, run_images, seed, limit)
    takes = [most for most in (limit, settings.count) if most is not None]
    source = _name(settings.source)
    names: set[str] = set()
    captions: set[str] = set()
    number = 0
    for number, (row, found) in enumerate(_examined(islice(rows, min(takes, default=None)), root), 1):

        def drop(fault: Fault, image: str = "", *, row: Row | Bad = row, number: int = number) -> Drop:
            # The number makes it this row's own: what two rows share must not make their drops one.
            record = digest("row", source, number, row.source_id)
            return Drop.make("captions", record, image, fault.reason, _detail(row, fault))

        if isinstance(found, Fault):
            yield drop(found)
            continue
        assert isinstance(row, Row)
        image, text = found
        caption = Caption.make(
            image=image,
            path=row.rel,
            text=text,
            source=source,
            source_id=row.source_id,
            seed=seed,
            validation=validation,
        )
        if row.source_id in names:
            yield drop(Fault("duplicate-id", f"there is an earlier row called {shown(row.source_id)}"), image)
        elif caption.id in captions:
            yield drop(Fault("duplicate", "an earlier row has the same image and the same caption"), image)
        else:
            names.add(row.source_id)
            captions.add(caption.id)
            yield caption
    if number == 0:
        raise SourceError(f"the caption source {settings.source} holds no rows: see captions.path")


def _rows(
    settings: CaptionSettings, base: Path, run_images: Path, seed: int, limit: int | None
) -> tuple[Iterator[Row | Bad], Path]:
    """A source's rows, and the folder that their images must be in."""
    name = settings.source
    root = root_of(settings, base, run_images)
    if name == "scenes":
        return scenes(settings, root, seed, limit), root
    if name in SOURCES:
        return SOURCES[name](settings, base), root
    if ":" not in name:
        known = [*SOURCES, "scenes"]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean `{close[0]}`?" if close else f"; there are {', '.join(known)}"
        if name == "published":
            hint = "; `lpt import` makes such a run, whole"
        raise SourceError(
            f'captions.source: there is no "{name}"{hint} (one of your own is named as path/to/file.py:function)'
        )
    if settings.path is None and settings.images is None:
        raise SourceError(f"captions.source is {name}: set captions.images to the folder that its images are in")
    return _own(settings, base), images_of(settings, base)


def _own(settings: CaptionSettings, base: Path) -> Iterator[Row | Bad]:
    """A user's own source, whose mistakes are told as such."""
    name = settings.source
    function = load_object(name, base)
    if not callable(function):
        raise SourceError(f"captions.source: {name} is not a function (settings, base) → rows")
    try:
        for row in function(settings, base):
            if not _sound(row):
                raise SourceError(  # noqa: TRY301 (said where it is known)
                    f"captions.source: {name} yielded {shown(repr(row))}; it should yield "
                    "lpt.captions.base.Row(source_id, path, rel, text) or Bad(source_id, reason, detail)"
                )
            yield row
    except LptError:
        raise
    except Exception as error:
        raise SourceError(f"captions.source: {name} failed: {type(error).__name__}: {error}") from error


def _sound(row: object) -> bool:
    # A struct that is made in Python holds whatever it was given.
    fields: tuple[object, ...]
    if isinstance(row, Row):
        fields = (row.source_id, row.rel, row.text)
        path: object = row.path
        return isinstance(path, Path) and all(isinstance(field, str) for field in fields)
    fields = (row.source_id, row.reason, row.detail) if isinstance(row, Bad) else (None,)
    return all(isinstance(field, str) for field in fields)


def _name(source: str) -> str:
    """What tables call a source: for one's own, its file's name and not where that lies."""
    place, colon, function = source.rpartition(":")
    return f"{PurePosixPath(place).name}:{function}" if colon else source


Examined = tuple[Row | Bad, tuple[str, str] | Fault]
"""A row with its image's hash and its text, or with what is wrong."""


def _examined(rows: Iterator[Row | Bad], root: Path) -> Iterator[Examined]:
    """Examine several rows at once (decoding leaves Python's lock alone), and keep their order."""
    threads = min(_MAX_THREADS, os.cpu_count() or 1)
    real = os.path.realpath(root)
    waiting: deque[tuple[Row | Bad, Future[tuple[str, str] | Fault] | Fault]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="lpt-intake") as pool:
        try:
            for row in rows:
                if isinstance(row, Bad):
                    waiting.append((row, Fault(shown(row.reason), shown(row.detail, 1000))))
                else:
                    waiting.append((row, pool.submit(_examine, row, real)))
                if len(waiting) > _AHEAD * threads:
                    yield _settled(*waiting.popleft())
            while waiting:
                yield _settled(*waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _settled(row: Row | Bad, found: Future[tuple[str, str] | Fault] | Fault) -> Examined:
    return row, found.result() if isinstance(found, Future) else found


def _examine(row: Row, root: str) -> tuple[str, str] | Fault:
    text = caption_text(row.text)
    if isinstance(text, Fault):
        return text
    if not all(encodable(name) and "\0" not in name for name in (row.source_id, row.rel, str(row.path))):
        return Fault("bad-name", "its name is not UTF-8, or holds a NUL")
    if row.path != Path(root) / row.rel and os.path.realpath(row.path) != os.path.realpath(Path(root) / row.rel):
        return Fault("path-outside", "it is not in the images' folder under that name")
    data = read_file(row.path, root, MAX_BYTES, "image")
    fault = data if isinstance(data, Fault) else fault_of(data)
    if fault:
        return fault
    assert isinstance(data, bytes)
    return digest("image", data), text


def _detail(row: Row | Bad, fault: Fault) -> str:
    if isinstance(row, Bad):
        return fault.detail
    name = shown(row.rel) if row.rel == row.source_id else f"{shown(row.source_id)} ({shown(row.rel)})"
    return f"{name}: {fault.detail}"
