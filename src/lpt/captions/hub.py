"""Data sets of the Hugging Face hub, by id or from a folder that `datasets` saved; streamed. Extra: `hub`."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lpt.captions.base import Bad, Found, Place, Row, at, beside, section
from lpt.captions.csv_ import missing
from lpt.captions.listing import listed
from lpt.errors import SourceError
from lpt.settings import CaptionSettings

INSTALL = 'pip install "long-perceptual-thoughts[hub]"'
_SAVED = ("state.json", "dataset_dict.json")


class HubPlace(Place, Protocol):
    """What says which data set is meant."""

    @property
    def split(self) -> str | None:
        """Its split."""

    @property
    def config(self) -> str | None:
        """Its configuration."""

    @property
    def revision(self) -> str | None:
        """Its branch, tag or commit."""


def hub(settings: CaptionSettings, base: Path) -> Iterator[Row | Bad]:
    """Rows of a data set with the columns `image`, `caption` and, optionally, `id`. The run keeps the images.

    Raises:
        SourceError: `datasets` is not installed, there is no such data set or split, or it lacks a column.
    """
    columns = settings.columns
    found = records(settings, base, (columns.image, columns.caption), (columns.id,), columns.image)
    yield from listed(found, folder(settings, base), columns, kept=True)


def folder(settings: Place, base: Path) -> Path:
    """The folder that image paths start from, where a data set has paths and not the images themselves."""
    return beside(settings, base, base) if settings.images or _local(settings, base) else base


def records(settings: HubPlace, base: Path, needs: Sequence[str], takes: Sequence[str], image: str) -> Found:
    """The rows of a data set, one at a time; its images stay encoded.

    Raises:
        SourceError: as above.
    """
    library = _library(section(settings))
    rows = _open(library, settings, base)
    features: Mapping[str, Any] | None = rows.features
    if features is not None:
        if any(name not in features for name in needs):
            raise missing(Path(settings.path or ""), needs, list(features), section(settings))
        rows = rows.select_columns([*needs, *(name for name in takes if name in features and name not in needs)])
        if isinstance(features[image], library.Image):
            rows = rows.cast_column(image, library.Image(decode=False))
    number = 0
    try:
        for number, row in enumerate(rows, 1):
            yield f"row {number}", dict(row)
    except Exception as error:  # anything: network, decoders and file systems of a large library
        raise SourceError(
            f"the data set {settings.path} broke off after row {number}: {_said(error)}. Run it again"
        ) from error


def _library(where: str) -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise SourceError(
            f'{where}.source is "hub", which needs the package `datasets` ({error}): {INSTALL}'
        ) from error


def _local(settings: Place, base: Path) -> bool:
    return bool(settings.path) and at(base, settings.path or "").exists()


def _open(library: Any, settings: HubPlace, base: Path) -> Any:
    where = section(settings)
    if not settings.path:
        raise SourceError(f'{where}.source is "hub", which needs {where}.path: a data set\'s id, or a saved folder')
    local = at(base, settings.path)
    try:
        if _local(settings, base) and any((local / name).is_file() for name in _SAVED):
            found = library.load_from_disk(str(local))
            if settings.split is not None and not isinstance(found, dict):
                found = {str(found.split or "train"): found}
        elif settings.path[0] in "./~" and not local.exists():
            raise SourceError(f"{where}.path: there is no {local}")  # noqa: TRY301 (said where it is known)
        else:
            found = library.load_dataset(
                str(local) if _local(settings, base) else settings.path,
                name=settings.config,
                revision=settings.revision,
                streaming=True,
            )
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(
            f"the data set {settings.path} cannot be opened: {_said(error)}. See {where}.path"
        ) from error
    if not isinstance(found, dict):
        return found
    if settings.split is None and len(found) == 1:
        return next(iter(found.values()))
    if settings.split not in found:
        asked = f"has no split `{settings.split}`" if settings.split else "has more than one split"
        raise SourceError(f"the data set {settings.path} {asked}: set {where}.split to one of {', '.join(found)}")
    return found[settings.split]


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300].rstrip('.')}"
