"""Which tables belong together: `tables/manifest.json`, the size and checksum of each.

Several files cannot be put in place at once, but one can. So tables that are made together are first written under
names of their own, `.NAME.parquet.CHECKSUM`; then the manifest that lists them takes the place of the older one,
and from that moment on they are the tables; then each gets its usual name. Who is killed before that moment leaves
the tables as they were, who is killed after it leaves some under the other name, where readers find them.

A table that the manifest does not list was put there by other means, and is taken as it is.
"""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Annotated

import msgspec

from lpt.errors import StoreError

NAME = "manifest.json"
_SUFFIX = 1 + 32


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A table as it was written."""

    rows: int
    bytes: int
    blake2b: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]
    """Of the file, 16 bytes in hexadecimal digits. Files are named by it, so it can be nothing else."""
    of: dict[str, str] = {}
    """The checksums of the tables that it was made from, where that matters."""


class Manifest(msgspec.Struct, frozen=True):
    """What stands in the file. A table that was taken away is null."""

    tables: dict[Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z_]{0,39}\Z")], Entry | None]
    """By name, which leads to no other folder: files are removed by it."""


def load(folder: Path) -> dict[str, Entry | None]:
    """The entries of a folder of tables; none where no manifest was written.

    Raises:
        StoreError: it is damaged.
    """
    path = folder / NAME
    try:
        return dict(msgspec.json.decode(path.read_bytes(), type=Manifest).tables)
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(
            f"{path}, which says what the tables should be, cannot be read ({error}): run the same command again, "
            "which writes tables and manifest anew and asks nothing twice"
        ) from error


def where(folder: Path, name: str, entries: dict[str, Entry | None]) -> Path | None:
    """The file of a table; None where there is none.

    Raises:
        StoreError: it is not as long as what was written.
    """
    path = usual(folder, name)
    if name not in entries:
        return path if path.exists() else None
    entry = entries[name]
    if entry is None:
        return None
    for there in (waiting(folder, name, entry), path):
        with contextlib.suppress(FileNotFoundError):
            size = there.stat().st_size
            if size != entry.bytes:
                raise StoreError(
                    f"the table {there} cannot be read (it has {size:,} bytes, {entry.bytes:,} were written: it is "
                    f"torn, or another program has changed it): {_anew(name)}"
                )
            return there
    return None


def outdated(name: str, entries: dict[str, Entry | None]) -> bool:
    """Whether a table was made from others that have been written anew since, and say something else now."""
    entry = entries.get(name)
    return entry is not None and entry.of != sources(tuple(entry.of), entries)


def sources(names: tuple[str, ...], entries: dict[str, Entry | None]) -> dict[str, str]:
    """The checksums of these tables, as far as they are listed."""
    there = {name: entries.get(name) for name in names}
    return {name: entry.blake2b for name, entry in there.items() if entry}


def usual(folder: Path, name: str) -> Path:
    """The name that a table has."""
    return folder / f"{name}.parquet"


def waiting(folder: Path, name: str, entry: Entry) -> Path:
    """The name that a table has until it gets its usual one."""
    return folder / f".{name}.parquet.{entry.blake2b}"


def settle(folder: Path) -> dict[str, Entry | None]:
    """Finish what a killed process began, and clear away what it had not come to; the entries.

    For whoever holds the run. A manifest that is damaged is begun anew: so are the tables, then.

    Raises:
        OSError: the disk failed.
    """
    try:
        entries = load(folder)
    except StoreError:
        entries = {}
    for name, entry in entries.items():
        if entry is None:
            usual(folder, name).unlink(missing_ok=True)
        else:
            with contextlib.suppress(FileNotFoundError):
                waiting(folder, name, entry).replace(usual(folder, name))
    for left in folder.glob(".*.parquet.*"):
        if len(left.suffix) == _SUFFIX:  # not one that is being written
            left.unlink(missing_ok=True)
    return entries


def swap(folder: Path, entries: dict[str, Entry | None]) -> None:
    """Put a manifest in place: from now on the tables are these.

    Raises:
        OSError: the disk failed.
    """
    part = folder / f".{NAME}.part"
    try:
        with part.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(Manifest(dict(sorted(entries.items()))))) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / NAME)
    finally:
        part.unlink(missing_ok=True)


def checksum(path: Path) -> str:
    """The checksum of a file."""
    hasher = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            hasher.update(piece)
    return hasher.hexdigest()


def examine(folder: Path) -> dict[str, str]:
    """Read every table through; what is wrong, by table. Nothing is changed.

    Raises:
        OSError: the disk failed.
    """
    try:
        entries = load(folder)
    except StoreError as error:
        return {NAME: str(error)}
    found = {name: _wrong(folder, name, entries) for name in entries}
    return {name: wrong for name, wrong in found.items() if wrong}


def whole(folder: Path, name: str) -> bool:
    """Whether a table is listed, there, and what was written; its file is read through.

    Raises:
        OSError: the disk failed.
        StoreError: the manifest is damaged.
    """
    entries = load(folder)
    return entries.get(name) is not None and not _wrong(folder, name, entries)


def _wrong(folder: Path, name: str, entries: dict[str, Entry | None]) -> str:
    """What is wrong with a table; nothing, if it is as it was written, or was taken away."""
    entry = entries[name]
    try:
        path = where(folder, name, entries)
    except StoreError as error:
        return str(error)
    if entry is None:
        return ""
    if path is None:
        return f"the table {usual(folder, name)} is gone: {_anew(name)}"
    if checksum(path) != entry.blake2b:
        return f"the table {path} is not what was written (its checksum differs): {_anew(name)}"
    return ""


def _anew(name: str) -> str:
    command = {"sft": "compose", "preferences": "compose", "judgements": "verify"}.get(name)
    if command:
        return f"`lpt {command} RUN` writes it anew"
    return "`lpt run` again, or the `lpt import` that made it, writes it anew, and asks nothing twice"
