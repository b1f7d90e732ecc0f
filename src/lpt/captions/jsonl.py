"""A list of captioned images: one JSON object a line, with `image`, `caption` and, optionally, `id`."""

from collections.abc import Iterator
from pathlib import Path

from lpt.captions.base import Bad, Found, Place, Row, images_of, needed, section
from lpt.captions.lines import objects
from lpt.captions.listing import listed
from lpt.errors import SourceError
from lpt.settings import CaptionSettings


def jsonl(settings: CaptionSettings, base: Path) -> Iterator[Row | Bad]:
    """Rows of a list. Image paths are relative to `images`, by default the list's own folder.

    A row without an id goes by its image's path; the second caption of an image by `PATH#2`, and so on.

    Raises:
        SourceError: there is no such list, or no such folder.
    """
    yield from listed(lines(list_of(settings, base)), images_of(settings, base), settings.columns)


def list_of(settings: Place, base: Path) -> Path:
    """The file that a list is read from.

    Raises:
        SourceError: there is none.
    """
    path = needed(settings, base, f"a {'CSV' if settings.source == 'csv' else 'JSON Lines'} file")
    if not path.is_file():
        raise SourceError(
            f"{section(settings)}.path: {path} is not a file; the source `{settings.source}` reads one"
            " (`folder` reads folders)"
        )
    return path


def lines(path: Path) -> Found:
    """The objects of a list, each with the line that it stands on."""
    for number, found in objects(path):
        yield f"line {number}", found
