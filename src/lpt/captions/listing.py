"""Rows of a table (jsonl, csv, parquet, hub) → captioned images: what the sources with columns share."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lpt.captions.base import Bad, Fault, Found, Row
from lpt.captions.lines import name_of, text_of
from lpt.captions.paths import locate, shown
from lpt.settings import CaptionColumns


class Namer:
    """Names for rows that have none: the image's path; for the second caption of an image, `PATH#2`."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def __call__(self, rel: str) -> str:
        """The next name for an image."""
        self._seen[rel] += 1
        return rel if self._seen[rel] == 1 else f"{rel}#{self._seen[rel]}"


def listed(found: Found, root: Path, columns: CaptionColumns, *, kept: bool = False) -> Iterator[Row | Bad]:
    """Captioned images, a row each.

    Args:
        found: the table's rows.
        root: the folder that image paths are relative to.
        columns: what the columns are called.
        kept: the run keeps the images, so a path may not lead out of `root`, but is not relative to the run's.
    """
    named = Namer()
    for place, row in found:
        if isinstance(row, Bad):
            yield row
            continue
        image = image_in(row, columns.image, root)
        text = text_of(row, columns.caption)
        name = name_of(row, columns.id, "")
        if fault := next((part for part in (image, text, name) if isinstance(part, Fault)), None):
            own = row.get(columns.id)
            own = shown(own) if isinstance(own, str) and own.strip() else place
            yield Bad(own, fault.reason, f"{place}: {fault.detail}")
            continue
        assert isinstance(image, Picture)
        assert isinstance(text, str)
        assert isinstance(name, str)
        # An image without any name of its own goes by its place in the table.
        yield image.row(name or named(image.rel or place), text, root, kept=kept)


class Picture:
    """An image as a row gives it: a file's path, or the file itself."""

    def __init__(self, path: Path, rel: str, data: bytes | None = None) -> None:
        self.path = path
        self.rel = rel
        self.data = data

    def row(self, name: str, text: str, root: Path, *, kept: bool) -> Row:
        """The row of a source."""
        if self.data is not None:
            return Row(name, root / "image", self.rel or name, text, data=self.data)
        return Row(name, self.path, self.rel, text, within=root if kept else None)


def image_in(row: dict[str, Any], column: str, root: Path) -> Picture | Fault:
    """The image of a row: a path, bytes, or the Hugging Face pair of both, of which the bytes count."""
    value = row.get(column)
    name: object = value
    if isinstance(value, dict) and ("bytes" in value or "path" in value):
        data, name = value.get("bytes"), value.get("path")
        if data is not None:
            value = data
    if isinstance(value, (bytes, bytearray, memoryview)):
        # The path beside it is where the file once was, on somebody else's disk: good for a name alone.
        return Picture(root, shown(Path(name).name) if isinstance(name, str) else "", bytes(value))
    if name is None:
        return Fault("missing-image-name", f"there is no `{column}`")
    if not isinstance(name, str):
        return Fault("missing-image-name", f"`{column}` is neither a path nor an image file's bytes")
    place = locate(root, name)
    return place if isinstance(place, Fault) else Picture(*place)
