"""What a caption source yields: a row, or what should have been one and why it is not."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import msgspec

from lpt.errors import SourceError
from lpt.paths import expanded
from lpt.settings import KEPT, CaptionSettings, QuestionSettings

MAX_CHARACTERS = 100_000
"""A caption that is longer is no caption: some other file was taken for one."""


class Row(msgspec.Struct, frozen=True):
    """One image with its caption, as a source found it. Whether the image can be read is the intake's business."""

    source_id: str
    """The name that the source gives it."""
    path: Path
    """The image file, absolute: `rel` under the source's root."""
    rel: str
    """The same relative to the root, with forward slashes: what tables hold."""
    text: str
    """The caption as it stands there."""
    data: bytes | None = None
    """The image file itself, where the source holds it. The intake keeps it in the root, under its hash."""
    within: Path | None = None
    """The folder that `path` must lie in, where that is not the root: the intake brings the file into the root."""


class Bad(msgspec.Struct, frozen=True):
    """Something in a source that is no row, and why. It becomes a drop."""

    source_id: str
    reason: str
    """A short, stable word for counting."""
    detail: str = ""
    """What a person wants to know; shows no absolute path."""


class Fault(msgspec.Struct, frozen=True):
    """Why a file, a path or a text cannot be used."""

    reason: str
    detail: str = ""


class Place(Protocol):
    """What says where a source's files are: the recipe's [captions], or its [questions]."""

    @property
    def source(self) -> str:
        """The source's name."""

    @property
    def path(self) -> str | None:
        """The folder or file that it reads."""

    @property
    def images(self) -> str | None:
        """The folder that image paths are relative to."""


Found: TypeAlias = Iterator[tuple[str, "dict[str, Any] | Bad"]]
"""What a table holds, each row with its place in words ("line 3")."""

Source: TypeAlias = Callable[[CaptionSettings, Path], Iterator[Row | Bad]]


def root_of(settings: Place, base: Path, rendered: Path) -> Path:
    """The folder that the rows' `rel` are relative to, as `Run.images` has it.

    Args:
        settings: the recipe's [captions] or [questions].
        base: what relative paths in them are relative to.
        rendered: where scenes are rendered, and images kept that came as bytes.
    """
    return rendered if settings.source in KEPT else beside(settings, base, rendered)


def beside(settings: Place, base: Path, otherwise: Path) -> Path:
    """The folder that image paths in a source's files start from."""
    if settings.images is not None:
        return at(base, settings.images)
    if settings.path is None:
        return otherwise
    path = at(base, settings.path)
    folder = path if path.is_dir() else path.parent
    return folder / "images" if settings.source == "docci" else folder


def section(settings: Place) -> str:
    """What the recipe calls the settings."""
    return "questions" if isinstance(settings, QuestionSettings) else "captions"


def at(base: Path, path: str) -> Path:
    """A path of the settings, absolute.

    Raises:
        SourceError: it begins with the home of a user whom there is not.
    """
    return Path(os.path.abspath(base / expanded(path, SourceError)))  # noqa: PTH100 (resolve() would follow links)


def needed(settings: Place, base: Path, what: str) -> Path:
    """The setting `path`, which must be there.

    Raises:
        SourceError: it is not set, or leads nowhere.
    """
    where = section(settings)
    if not settings.path:
        raise SourceError(f'{where}.source is "{settings.source}", which needs {where}.path: {what}')
    path = at(base, settings.path)
    if not reaches(path):
        raise SourceError(f"{where}.path: there is no {path}. It should be {what}")
    return path


def images_of(settings: Place, base: Path) -> Path:
    """The root of a source's images, which must be a folder.

    Raises:
        SourceError: it is not.
    """
    root = beside(settings, base, base)
    if not root.is_dir():
        raise SourceError(
            f"there is no folder {root}: set {section(settings)}.images to the one that image paths start from"
        )
    return root


def reaches(path: Path) -> bool:
    """Whether there is something at a path.

    Raises:
        SourceError: one may not look.
    """
    try:
        path.stat()
    except PermissionError as error:
        raise SourceError(f"{path} may not be read: {error.strerror}. Check its permissions") from error
    except (OSError, ValueError):
        return False
    return True
