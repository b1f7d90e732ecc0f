"""A folder of images, each with its caption beside it: a `.txt` or a `.json` of the same stem."""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

from lpt.captions.base import MAX_CHARACTERS, Bad, Fault, Row, at, images_of, needed
from lpt.captions.lines import text_of
from lpt.captions.paths import decoded, encodable, read_file, shown
from lpt.errors import SourceError
from lpt.settings import CaptionSettings

# What people call an image. HEIC and the like are listed although Pillow reads none: such a file is a drop that
# says so, and not a file that was never seen.
IMAGES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic"}
    | {".jp2", ".ppm", ".pgm", ".tga"}
)
SIDECARS = (".txt", ".json")
_MAX_BYTES = 4 * MAX_CHARACTERS


def folder(settings: CaptionSettings, base: Path) -> Iterator[Row | Bad]:
    """Rows of a folder and all folders in it, by path. Names that begin with a dot are left alone.

    The `.json` holds a text, or an object with `caption`, `description` or `text`. Where both are there, the `.txt`
    counts. With `images`, the images are in that folder and `path` holds the captions, under the same names.

    Raises:
        SourceError: there is no such folder, or no image in it.
    """
    captions = needed(settings, base, "a folder of images with a .txt or .json beside each")
    if not captions.is_dir():
        raise SourceError(f"captions.path: {captions} is not a folder; the source `jsonl` reads a list")
    root = images_of(settings, base)
    files, bad = _files(root)
    images = [rel for rel in files if _suffix(rel) in IMAGES]
    if not images:
        raise SourceError(
            f"there are no images in {root} (files that end in .jpg, .png, .webp, …): see captions.path"
        )
    if settings.images is not None and at(base, settings.images) != captions:
        files, more = _files(captions)
        bad += more
    beside = _Sidecars(files)
    real = os.path.realpath(captions)
    yield from bad
    lonely = beside.lonely(images)
    for rel in sorted([*images, *lonely]):
        if rel in lonely:
            yield Bad(shown(rel), "missing-image", f"{shown(rel)}: there is no image of that name")
            continue
        sidecar = beside.of(rel)
        text = (
            Fault("missing-caption", "there is no .txt or .json beside it")
            if sidecar is None
            else _caption(captions / sidecar, real)
        )
        if isinstance(text, Fault):
            yield Bad(rel, text.reason, f"{shown(sidecar or rel)}: {text.detail}")
        else:
            yield Row(rel, root / rel, rel, text)


def _files(root: Path) -> tuple[list[str], list[Bad]]:
    """The files under a root, relative to it, and what could not be looked into."""
    found: list[str] = []
    bad: list[Bad] = []

    def failed(error: OSError) -> None:
        name = shown(os.path.relpath(error.filename, root))
        if name == ".":
            raise SourceError(f"{root} cannot be read: {error.strerror}") from error
        bad.append(Bad(name, "unreadable-folder", f"{name}: {error.strerror}"))

    for place, folders, files in os.walk(root, onerror=failed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            (Path(place) / name).relative_to(root).as_posix() for name in sorted(files) if not name.startswith(".")
        ]
        for name in folders:
            link = Path(place) / name
            if link.is_symlink():  # never followed: it may lead out, or round in a circle
                rel = shown(link.relative_to(root).as_posix())
                bad.append(Bad(rel, "linked-folder", f"{rel}: links to folders are not followed"))
    bad += [
        Bad(shown(rel), "bad-name", f"{shown(rel)}: the name is not UTF-8")
        for rel in found
        if not encodable(rel) and (_suffix(rel) in IMAGES or _suffix(rel) == ".txt")
    ]
    return [rel for rel in found if encodable(rel)], bad


class _Sidecars:
    """Which caption file belongs to which image."""

    def __init__(self, files: list[str]) -> None:
        self._exact: dict[str, str] = {}
        self._composed: dict[str, str] = {}
        self._texts = [rel for rel in files if _suffix(rel) == ".txt"]
        for suffix in reversed(SIDECARS):  # the first of them is written last, and stays
            for rel in files:
                if _suffix(rel) == suffix:
                    self._exact[_stem(rel)] = rel
                    self._composed[_composed(rel)] = rel

    def of(self, image: str) -> str | None:
        """An image's caption file. The same letters may be encoded in two ways, as one or as two characters."""
        return self._exact.get(_stem(image)) or self._composed.get(_composed(image))

    def lonely(self, images: list[str]) -> set[str]:
        """The text files that belong to no image. A .json may be about anything."""
        used = {self.of(image) for image in images}
        stems = {_composed(image) for image in images}
        return {rel for rel in self._texts if rel not in used and _composed(rel) not in stems}


def _caption(path: Path, root: str) -> str | Fault:
    data = read_file(path, root, _MAX_BYTES, "caption")
    text = data if isinstance(data, Fault) else decoded(data)
    if isinstance(text, Fault) or _suffix(path.name) == ".txt":
        return text
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        return Fault(
            "malformed-json", "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        )
    if isinstance(found, str):
        return found
    if not isinstance(found, dict):
        return Fault("caption-not-text", "it is JSON, but neither a text nor an object")
    return text_of(found, "caption", "description", "text")


def _suffix(rel: str) -> str:
    return PurePosixPath(rel).suffix.lower()


def _stem(rel: str) -> str:
    return PurePosixPath(rel).with_suffix("").as_posix()


def _composed(rel: str) -> str:
    return unicodedata.normalize("NFC", _stem(rel))
