"""LLaMA-Factory's sharegpt and preference files, as a run that has sets: ours come back, and so do the authors'.

A file is read as its `dataset_info.json` says, where one lies beside it; otherwise by what its rows look like.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from lpt.captions.base import Bad
from lpt.errors import SourceError
from lpt.imports.conversations import Turns, side, turns
from lpt.imports.files import files, rows
from lpt.imports.sets import Imported, Importer
from lpt.records import Stage

INFO = "dataset_info.json"
_KNOWN = {
    "messages",
    "conversations",
    "system",
    "images",
    "image",
    "chosen",
    "rejected",
    "assistant_prefix",
    "metadata",
}


class _Entry(NamedTuple):
    """What a registration says of a file."""

    messages: str | None = None
    system: str = "system"
    images: str = "images"
    chosen: str = "chosen"
    rejected: str = "rejected"
    tags: tuple[str, str] | None = None
    roles: dict[str, str] = {}


def import_sharegpt(path: str | Path, out: str | Path, images: str | Path | None = None) -> Imported:
    """Make a run of sharegpt files. Nothing is composed: the sets are taken as they are.

    Args:
        path: a JSON, JSON Lines or Parquet file, or a folder of them, such as an export of ours.
        out: the run folder to make.
        images: the folder that image paths are relative to; by default that of the file, and then an image without
            a file is known by its recorded name.

    Raises:
        SourceError: there is no such file or folder, it cannot be read, or not one row of it can be used.
    """
    path = Path(os.path.realpath(path))  # resolve() fails on links in a circle
    found = [file for file in files(path) if file.name != INFO]
    if not found:
        raise SourceError(f"{path} registers data sets and is none: give the file that it names")
    root = Path(images).resolve() if images is not None else path if path.is_dir() else path.parent
    if not root.is_dir():
        raise SourceError(f"--images {root} is not a folder")
    strange: set[str] = set()
    kept = 0
    with Importer("sharegpt", path, root, out, named=images is None) as importer:
        for file in found:
            entry = _registered(file)
            for place, row in rows(file):
                if isinstance(row, Bad):
                    importer.drop("sft", place, row.reason, row.detail)
                    continue
                strange |= row.keys() - _KNOWN - set(entry[:5])
                kept += _take(importer, place, row, entry)
    return finished(importer, kept, [f"columns that are not used: {', '.join(sorted(strange))}"] if strange else [])


def finished(importer: Importer, kept: int, remarks: list[str]) -> Imported:
    """What an import comes to.

    Raises:
        SourceError: nothing of it could be understood.
    """
    if not kept:
        drops = importer.run.table("drops").collect()
        why = drops["reason"].value_counts(sort=True).head(3)["reason"].to_list() if drops.height else ["no rows"]
        raise SourceError(
            f"not one row of {importer.recipe.captions.path} can be used ({', '.join(why)}). "
            + " ".join(f"{remark}." for remark in remarks)
        )
    counted = [f"{count:,} {remark}" for remark, count in importer.remarks.items()]
    return Imported(importer.run, (*remarks, *counted))


def _take(importer: Importer, place: str, row: dict[str, Any], entry: _Entry) -> bool:
    """Take one row in; whether it was understood."""
    ranked = entry.chosen in row or entry.rejected in row
    stage: Stage = "preferences" if ranked else "sft"
    column = entry.messages or ("messages" if "messages" in row else "conversations")
    read = turns(row.get(column), entry.tags, entry.roles)
    if isinstance(read, str):
        importer.drop(stage, place, read, f"`{column}`")
        return False
    if not read.system and isinstance(row.get(entry.system), str):
        read = read._replace(system=row[entry.system].strip())
    listed = row.get(entry.images, row.get("image"))
    listed = listed if isinstance(listed, list) else [listed]
    if len(listed) != 1 or read.images > 1:
        importer.drop(stage, place, "several-images" if listed else "no-image")
        return False
    meta = row.get("metadata")
    meta = meta if isinstance(meta, dict) else {}
    category = _word(meta.get("category"))
    if stage == "sft":
        parted = _parted(read, row.get("assistant_prefix"))
        if parted is None:
            importer.drop(stage, place, "prefix-differs", "the assistant does not begin with `assistant_prefix`")
            return False
        category = category or ("X→O" if parted.given else "imported")
        importer.example(place, parted, listed[0], category, _word(meta.get("cue")))
        return True
    chosen, rejected = side(row.get(entry.chosen), entry.tags), side(row.get(entry.rejected), entry.tags)
    if chosen is None or rejected is None:
        importer.drop("preferences", place, "side-not-understood")
        return False
    importer.pair(place, read, chosen, rejected, listed[0], category or "imported")
    return True


def _parted(read: Turns, prefix: object) -> Turns | None:
    """The assistant's turn, parted where its prefix ends."""
    if not isinstance(prefix, str) or not prefix or read.given:
        return read
    if not read.said.startswith(prefix):
        return None
    return read._replace(given=prefix, said=read.said[len(prefix) :])


def _word(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= 40 and value.isprintable() else ""


def _registered(file: Path) -> _Entry:
    """What the `dataset_info.json` beside a file says of it."""
    info = file.parent / INFO
    if not info.is_file():
        return _Entry()
    try:
        entries = msgspec.json.decode(info.read_bytes(), type=dict[str, dict[str, Any]])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(f"{info} cannot be read: {error}") from error
    entry = next((entry for entry in entries.values() if entry.get("file_name") == file.name), {})
    columns, tags = (entry.get(part) or {} for part in ("columns", "tags"))
    if not isinstance(columns, dict) or not isinstance(tags, dict):
        raise SourceError(f"{info} is no registration: `columns` and `tags` of {file.name} must be objects")
    known = {name: columns[name] for name in _Entry._fields[:5] if isinstance(columns.get(name), str)}
    roles = {str(tags[f"{role}_tag"]): role for role in ("user", "assistant", "system") if f"{role}_tag" in tags}
    pair = (str(tags.get("role_tag", "from")), str(tags.get("content_tag", "value"))) if tags else None
    return _Entry(**known, tags=pair, roles=roles)
