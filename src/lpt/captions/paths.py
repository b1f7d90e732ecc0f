"""Paths and texts from strangers: found inside a folder, or not at all."""

import os
import re
import stat
import unicodedata
from pathlib import Path, PurePosixPath

from lpt.captions.base import MAX_CHARACTERS, Fault

_LONGEST = 4096  # what Linux takes; and to normalise a text may cost its square
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|data:")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


def locate(root: Path, name: str) -> tuple[Path, str] | Fault:
    """The file that a name in a list means, and its path relative to `root`. It need not exist.

    A name is taken as it stands. Only where there is no such file, it is tried in the other Unicode forms (an
    archive from macOS has é as two characters) and with slashes for backslashes (a list from Windows).
    """
    if not name.strip() or "\0" in name:
        return Fault("missing-image-name", "the image's name is empty" if not name.strip() else "it holds a NUL")
    if len(name) > _LONGEST:
        return Fault("unreadable-image", f"{shown(name)} is longer than a path can be")
    if _URL.match(name):
        return Fault("not-a-path", f"{shown(name)} is a URL: download the images, and name the files")
    if name.startswith("/"):
        inner = _under(root, name)
        if inner is None:
            return Fault("path-outside", f"{PurePosixPath(name).name} lies outside the images' folder")
        name = inner
    if ".." in name.replace("\\", "/").split("/"):
        return Fault("path-outside", f"{shown(name)} leads out of the images' folder")
    forms = [name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name), name.replace("\\", "/")]
    found = next((form for form in forms if os.path.lexists(root / form)), name)
    rel = PurePosixPath(found).as_posix()
    if rel.startswith("/"):  # a backslash at the start, made a slash
        return Fault("path-outside", f"{shown(name)} leads out of the images' folder")
    return root / rel, rel


def _under(root: Path, name: str) -> str | None:
    for folder in (root, root.resolve()):
        if PurePosixPath(name).is_relative_to(folder):
            return PurePosixPath(name).relative_to(folder).as_posix()
    return None


def contained(root: str, path: Path) -> bool:
    """Whether a path, all links followed, stays inside a root whose links have been followed."""
    real = os.path.realpath(path)
    return real != root and os.path.commonpath([real, root]) == root


def read_file(path: Path, root: str, limit: int, kind: str) -> bytes | Fault:
    """A regular file's bytes.

    Args:
        path: the file.
        root: the folder that it must be in, links followed on both sides.
        limit: it must not have more bytes than this.
        kind: what stands in reasons: image or caption.
    """
    try:
        if not contained(root, path):
            return Fault("path-outside", "it leads out of the folder")
        # Looked at before it is opened: opening a pipe would wait for ever.
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            return Fault(f"unreadable-{kind}", "it is not a file")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError):
        return Fault(f"missing-{kind}", "there is no such file")
    except (OSError, ValueError) as error:
        return Fault(f"unreadable-{kind}", getattr(error, "strerror", None) or "it cannot be opened")
    return data if len(data) <= limit else Fault(f"{kind}-too-large", f"it has more than {limit:,} bytes")


def decoded(data: bytes) -> str | Fault:
    """Bytes as UTF-8, strictly; a byte order mark goes."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Fault("not-utf8", f"byte {error.start} is not UTF-8")


def caption_text(text: str) -> str | Fault:
    """A caption as it is kept: one kind of line end, no white space around it, otherwise untouched."""
    if len(text) > MAX_CHARACTERS:
        return Fault("caption-too-large", f"it has more than {MAX_CHARACTERS:,} characters")
    if found := _CONTROL.search(text):
        return Fault("control-characters", f"character {found.start()} of the caption is U+{ord(found[0]):04X}")
    if not encodable(text):
        return Fault("not-utf8", "the caption holds half of a surrogate pair")
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    # Zero-width characters alone are no words either.
    if not any(character.isprintable() and not character.isspace() for character in text):
        return Fault("empty-caption", "it says nothing")
    return text


def encodable(text: str) -> bool:
    """Whether a text can be written: the name of a file that is not UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(name: str, most: int = 200) -> str:
    """A name as it can stand in a detail: text that can be encoded, and not too much of it."""
    name = name.encode("utf-8", "backslashreplace").decode()
    return name if len(name) <= most else f"{name[:most]}…"
