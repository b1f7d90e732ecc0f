"""A source's rows become captions and drops, in their order: every image is read, hashed and decoded once."""

import difflib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

from lpt.captions.base import Bad, Fault, Row, Source, images_of, root_of
from lpt.captions.csv_ import csv_
from lpt.captions.docci import docci
from lpt.captions.examine import examined
from lpt.captions.folder import folder
from lpt.captions.hub import hub
from lpt.captions.jsonl import jsonl
from lpt.captions.known import Known
from lpt.captions.parquet import parquet
from lpt.captions.paths import shown
from lpt.captions.scenes import RENDERED
from lpt.errors import LptError, SourceError
from lpt.plugins import load_object
from lpt.records import Caption, Drop, digest
from lpt.settings import SETS_ONLY, CaptionSettings

SOURCES: dict[str, Source] = {
    "docci": docci,
    "folder": folder,
    "jsonl": jsonl,
    "csv": csv_,
    "parquet": parquet,
    "hub": hub,
}
"""Beside those that are rendered, which are told more."""


def read(
    settings: CaptionSettings,
    *,
    base: Path,
    run_images: Path,
    seed: int,
    validation: float,
    limit: int | None = None,
    known: Known | None = None,
) -> Iterator[Caption | Drop]:
    """Read a caption source. Each of its rows comes out once, in its order, as a caption or as a drop.

    A caption about an image that another row has said before, and a second row of the same name, are dropped; the
    first stays. Memory grows with the number of ids alone.

    Args:
        settings: the recipe's [captions].
        base: the folder that relative paths in it are relative to.
        run_images: where scenes are rendered, and images kept that came as bytes.
        seed: the recipe's.
        validation: the share of images that is held out.
        limit: take only this many rows, from the start of the source.
        known: image files that were seen before: unchanged, they are not read again.

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
    for number, (row, found) in enumerate(examined(islice(rows, min(takes, default=None)), root, known=known), 1):

        def drop(fault: Fault, image: str = "", *, row: Row | Bad = row, number: int = number) -> Drop:
            # The number makes it this row's own: what two rows share must not make their drops one.
            record = digest("row", source, number, row.source_id)
            return Drop.make("captions", record, image, fault.reason, _detail(row, fault))

        if isinstance(found, Fault):
            yield drop(found)
            continue
        assert isinstance(row, Row)
        image = found.image
        caption = Caption.make(
            image=image,
            path=found.path,
            text=found.text,
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
    if name in RENDERED:
        return RENDERED[name](settings, root, seed, limit), root
    if name in SOURCES:
        return SOURCES[name](settings, base), root
    if ":" not in name:
        known = [*SOURCES, *RENDERED]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean `{close[0]}`?" if close else f"; there are {', '.join(known)}"
        if name == "published" or name in SETS_ONLY:
            hint = "; `lpt import` makes such a run, whole"
        if name == "merged":
            hint = "; `lpt compose RUN1 RUN2 --out MERGED` makes such a run, whole"
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
    if isinstance(row, Row) and (row.data is not None or row.within is not None):
        return False  # one's own root is one's own folder: nothing is written there
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


def _detail(row: Row | Bad, fault: Fault) -> str:
    if isinstance(row, Bad):
        return fault.detail
    name = shown(row.rel) if row.rel == row.source_id else f"{shown(row.source_id)} ({shown(row.rel)})"
    return f"{name}: {fault.detail}"
