"""A visual question set of the user's own → captions, the questions on them, and drops, row by row."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from lpt.captions import hub, parquet
from lpt.captions.base import Bad, Fault, Found, Row, images_of, needed, root_of, section
from lpt.captions.csv_ import records as csv_records
from lpt.captions.examine import examined
from lpt.captions.jsonl import lines, list_of
from lpt.captions.known import Known
from lpt.captions.lines import name_of
from lpt.captions.listing import Namer, Picture, image_in
from lpt.captions.paths import shown
from lpt.records import Caption, Drop, digest
from lpt.settings import KEPT, QuestionSettings
from lpt.synthesis.bring import Brought, Unread
from lpt.synthesis.bring import read as read_cells


class _Asking(Row, frozen=True):
    """A row that also asks something."""

    cells: dict[str, Any] = {}
    named: bool = False


def read(
    settings: QuestionSettings,
    *,
    base: Path,
    run_images: Path,
    seed: int,
    validation: float,
    limit: int | None = None,
    known: Known | None = None,
) -> Iterator[Caption | Brought | Drop]:
    """Read a question set. Each row comes out as a question or as a drop; each caption once, before its questions.

    A row whose image or caption cannot be used is a drop of `captions`; one whose question cannot, of `ask`. Rows
    about the same image with the same caption share one; a caption may be empty. Memory grows with the number of
    ids alone.

    Args:
        settings: the recipe's [questions].
        base: the folder that relative paths in it are relative to.
        run_images: where images are kept that came as bytes.
        seed: the recipe's.
        validation: the share of images that is held out.
        limit: take only this many rows, from the start of the source.
        known: image files that were seen before: unchanged, they are not read again.

    Raises:
        SourceError: the source as a whole cannot be read.
        StoreError: an image could not be kept.
    """
    takes = [most for most in (limit, settings.count) if most is not None]
    rows = islice(_rows(settings, base), min(takes, default=None))
    root = root_of(settings, base, run_images)
    names: set[str] = set()
    captions: dict[str, int] = {}
    name_of_image = Namer()
    for number, (row, seen) in enumerate(examined(rows, root, captioned=False, known=known), 1):
        record = digest("row", settings.source, number, row.source_id)
        if isinstance(seen, Fault):
            detail = seen.detail if isinstance(row, Bad) else f"{shown(row.source_id)}: {seen.detail}"
            yield Drop.make("captions", record, "", seen.reason, detail)
            continue
        assert isinstance(row, _Asking)
        caption = Caption.make(
            image=seen.image,
            path=seen.path,
            text=seen.text,
            source=settings.source,
            source_id=row.rel or seen.path,
            seed=seed,
            validation=validation,
        )
        if caption.id not in captions:
            captions[caption.id] = 0
            yield msgspec.structs.replace(caption, source_id=name_of_image(caption.source_id))
        index = captions[caption.id]
        captions[caption.id] += 1
        cells = read_cells(row.cells, settings.columns, settings.answer_as)
        if row.named and row.source_id in names:
            cells = Unread("duplicate-id", "there is an earlier row of this name")
        elif not isinstance(cells, Unread) and not cells.options and settings.options_from is None:
            cells = Unread("no-options", "it is an open question, and questions.options_from names no model")
        if row.named:
            names.add(row.source_id)
        if isinstance(cells, Unread):
            detail = f"{shown(row.source_id)}: {cells.detail}"
            yield Drop.make("ask", record, caption.image, cells.reason, detail)
            continue
        yield Brought(
            caption=caption.id,
            image=caption.image,
            index=index,
            stem=cells.stem,
            options=cells.options,
            answer=cells.answer,
            kind=cells.kind,
        )


def _rows(settings: QuestionSettings, base: Path) -> Iterator[Row | Bad]:
    columns = settings.columns
    root = hub.folder(settings, base) if settings.source == "hub" else images_of(settings, base)
    for place, row in _records(settings, base):
        if isinstance(row, Bad):
            yield row
            continue
        image = image_in(row, columns.image, root)
        name = name_of(row, columns.id, "")
        text = row.get(columns.caption)
        text = "" if text is None else text if isinstance(text, str) else Fault("caption-not-text", "it is no text")
        fault = next((part for part in (image, name, text) if isinstance(part, Fault)), None)
        if fault:
            yield Bad(place, fault.reason, f"{place}: {fault.detail}")
            continue
        assert isinstance(image, Picture)
        assert isinstance(name, str)
        assert isinstance(text, str)
        made = image.row(name or place, text, root, kept=settings.source in KEPT)
        yield _Asking(
            made.source_id, made.path, image.rel, made.text, made.data, made.within, cells=row, named=bool(name)
        )


def _records(settings: QuestionSettings, base: Path) -> Found:
    columns = settings.columns
    options = (columns.options,) if isinstance(columns.options, str) else columns.options
    needs = [columns.image, columns.question, columns.answer]
    takes = [columns.caption, columns.kind, columns.id]
    # An open question has no options, so there may be no column of them.
    (takes if settings.options_from else needs).extend(options)
    where = section(settings)
    if settings.source == "hub":
        return hub.records(settings, base, needs, takes, columns.image)
    if settings.source == "parquet":
        path = needed(settings, base, "a Parquet file, or a folder of them")
        return parquet.records(path, needs, takes, where)
    path = list_of(settings, base)
    return csv_records(path, needs, where) if settings.source == "csv" else lines(path)
