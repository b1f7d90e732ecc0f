"""Parquet: one file, or a folder of shards, with images as paths, as bytes, or as Hugging Face's pair of both."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lpt.captions.base import Bad, Found, Row, images_of, needed, section
from lpt.captions.csv_ import missing
from lpt.captions.listing import listed
from lpt.captions.paths import shown
from lpt.errors import SourceError
from lpt.settings import CaptionSettings

_BATCH = 32
"""Rows at a time: images as bytes are megabytes each."""


def parquet(settings: CaptionSettings, base: Path) -> Iterator[Row | Bad]:
    """Rows of Parquet files with the columns `image`, `caption` and, optionally, `id`. The run keeps the images.

    Raises:
        SourceError: there is no such file, or it lacks a column.
    """
    path = needed(settings, base, "a Parquet file, or a folder of them")
    columns = settings.columns
    found = records(path, (columns.image, columns.caption), (columns.id,), section(settings))
    yield from listed(found, images_of(settings, base), columns, kept=True)


def records(path: Path, needs: Sequence[str], takes: Sequence[str] | None, where: str) -> Found:
    """The rows of a Parquet file or of a folder's, shard by shard in the order of their paths.

    Memory is bounded by one row group as it lies on the disk, and a few decoded rows.

    Args:
        path: the file or folder.
        needs: columns that must be there.
        takes: further columns, read where they are there. None: all columns.
        where: the section of the recipe, for what is said of it.

    Raises:
        SourceError: the first shard cannot be read, or lacks a column. A later one is a drop.
    """
    shards = [path]
    if path.is_dir():
        shards = sorted(p for p in path.rglob("*.parquet") if not any(q.startswith(".") for q in _under(path, p)))
        if not shards:
            raise SourceError(f"{path} holds no .parquet file: see {where}.path")
    for shard in shards:
        name = "" if len(shards) == 1 else f"{shown(shard.relative_to(path).as_posix())} "
        try:
            if not shard.is_file():  # opening a pipe would wait for ever
                raise OSError("it is not a file")  # noqa: TRY301 (said like any other reason)
            file = pq.ParquetFile(shard, pre_buffer=False)  # True: all row groups at once
            there = file.schema_arrow.names
        except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a name that is not UTF-8
            if shard == shards[0]:
                raise SourceError(f"{shard} cannot be read as Parquet: {_first_line(error)}") from error
            yield name.strip(), Bad(name.strip(), "unreadable-shard", f"{name.strip()}: it is no Parquet file")
            continue
        with file:
            if any(there.count(column) != 1 for column in needs):
                if shard == shards[0]:
                    raise missing(shard, needs, there, where)
                why = f"{name.strip()}: it lacks a column; {file.metadata.num_rows:,} rows are left out"
                yield name.strip(), Bad(name.strip(), "missing-columns", why)
                continue
            wanted = None if takes is None else [*needs, *(c for c in takes if c in there and c not in needs)]
            yield from _rows(file, wanted, name)


def _rows(file: Any, columns: list[str] | None, shard: str) -> Found:
    start = 0
    for group in range(file.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        number = start
        try:
            for batch in file.iter_batches(batch_size=_BATCH, row_groups=[group], columns=columns):
                for i in range(batch.num_rows):
                    number += 1
                    place = f"{shard}row {number}"
                    yield place, _row(batch, i, place)
        except (pa.ArrowException, OSError, ValueError):  # what is damaged costs the rest of its row group
            place = f"{shard}row {number + 1}"
            why = f"{place}: the file is damaged here; {end - number:,} rows are left out"
            yield place, Bad(place, "unreadable-shard", why)
        start = end


def _row(batch: Any, i: int, place: str) -> dict[str, Any] | Bad:
    try:
        return {name: batch.column(j)[i].as_py() for j, name in enumerate(batch.schema.names)}
    except UnicodeDecodeError:
        return Bad(place, "not-utf8", f"{place}: a text in it is not UTF-8")
    except (pa.ArrowException, ValueError, OverflowError):  # a date before the year 1, an unknown extension
        return Bad(place, "malformed-row", f"{place}: a value in it has no counterpart here")


def _under(root: Path, path: Path) -> tuple[str, ...]:
    return path.relative_to(root).parts


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
