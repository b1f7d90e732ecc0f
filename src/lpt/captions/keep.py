"""Images that a run keeps: under their hash, whatever their source called them, each once."""

import contextlib
import os
import shutil
import threading
from pathlib import Path

_STARTS = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"\0\0\0\x0cjP", ".jp2"),
    (b"\xff\x4f\xff\x51", ".jp2"),
)


def file_name(image: str, data: bytes) -> str:
    """The name that an image is kept under: its hash, and an ending that its first bytes call for."""
    ending = next((ending for start, ending in _STARTS if data.startswith(start)), ".img")
    if data[8:12] == b"WEBP":
        ending = ".webp"
    elif data[4:8] == b"ftyp":
        ending = ".avif"
    return image + ending


def keep(root: Path, image: str, data: bytes, source: Path | None = None) -> str:
    """Put an image into a folder, unless it is there; its name.

    A file on the same disk is linked and takes no room; otherwise it is written anew. Safe in threads.

    Args:
        root: the folder; made if it is not there.
        image: the hash of the bytes.
        data: the bytes.
        source: the file that they were read from, if there is one.

    Raises:
        OSError: the disk failed.
    """
    name = file_name(image, data)
    path = root / name
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size == len(data):
            return name
    root.mkdir(parents=True, exist_ok=True)
    part = root / f".{name}.{threading.get_ident()}.part"
    part.unlink(missing_ok=True)
    if source is None or not _linked(source, part):
        part.write_bytes(data)
    part.replace(path)
    part.unlink(missing_ok=True)  # two links to one file: renaming one onto the other does nothing
    return name


def bring(root: Path, name: str, source: Path) -> None:
    """Link or copy a file into a folder under a name, unless it is there.

    Raises:
        OSError: it cannot be read, or the disk failed.
    """
    path = root / name
    if path.exists():
        return
    root.mkdir(parents=True, exist_ok=True)
    part = root / f".{name}.part"
    part.unlink(missing_ok=True)
    if not _linked(source, part):
        shutil.copyfile(source, part)
    part.replace(path)


def _linked(source: Path, path: Path) -> bool:
    with contextlib.suppress(OSError, NotImplementedError):
        os.link(source.resolve(), path)  # a link to a link would lead nowhere from here
        return True
    return False
