"""Rendered scenes: pictures whose truth is known, with captions that tell it."""

import re
from collections.abc import Iterator
from pathlib import Path

from lpt.captions.base import Bad, Row
from lpt.errors import SourceError, StoreError
from lpt.records import digest
from lpt.settings import CaptionSettings

DEFAULT_COUNT = 24
_STAMP = ".world"
_OURS = re.compile(r"(rich|plain)-\d+-\d{6,}\.png")


def scenes(settings: CaptionSettings, images: Path, seed: int, limit: int | None = None) -> Iterator[Row | Bad]:
    """Render scenes into a folder and yield them as rows.

    Unlike other sources it is told the seed, and where to write. A picture that this very renderer has put there
    before is not rendered again.

    Raises:
        SourceError: the settings contradict each other.
        StoreError: a picture could not be written.
    """
    if settings.path is not None:
        raise SourceError('captions.path is set, but captions.source is "scenes", which are rendered: take one out')
    from lpt import world  # noqa: PLC0415 (numpy and the renderer's templates: only for who wants scenes)

    count = settings.count or DEFAULT_COUNT
    try:
        images.mkdir(parents=True, exist_ok=True)
        _discard_stale(images)
        for scene, name in world.scenes(count if limit is None else min(count, limit), seed, settings.style):
            path = images / f"{name}.png"
            if not path.exists():
                _put(path, world.png(scene))
            yield Row(name, path, path.name, world.describe(scene))
    except OSError as error:
        raise StoreError(
            f"the scenes could not be written to {images}: {error.strerror or error}. See to the disk, run it again"
        ) from error


def _discard_stale(images: Path) -> None:
    """Remove pictures that another version of the renderer made: a caption must tell what its picture shows."""
    from lpt import world  # noqa: PLC0415

    sources = sorted(Path(world.__path__[0]).glob("*.py"))
    version = digest(*(part for path in sources for part in (path.name, path.read_bytes())))
    stamp = images / _STAMP
    if stamp.exists() and stamp.read_bytes() == version.encode():
        return
    for path in images.iterdir():
        if _OURS.fullmatch(path.name):
            path.unlink()
    _put(stamp, version.encode())


def _put(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
