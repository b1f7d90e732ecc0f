"""Rendered scenes and boards: pictures whose truth is known, with captions that tell it."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

from lpt.captions.base import Bad, Row
from lpt.errors import SourceError, StoreError
from lpt.records import digest
from lpt.settings import CaptionSettings

DEFAULT_COUNT = 24
_STAMP = ".world"
_OURS = re.compile(r"(?:(?:rich|plain)|board-(?:plain|dusk))-\d+-\d{6,}\.png")
_Rendered: TypeAlias = tuple[str, str, Callable[[], bytes]]
"""A picture's name, its caption, and what paints it."""


def scenes(settings: CaptionSettings, images: Path, seed: int, limit: int | None = None) -> Iterator[Row | Bad]:
    """Render scenes into a folder and yield them as rows.

    Unlike other sources this and `boards` are told the seed, and where to write. A picture that this very renderer
    has put there before is not rendered again.

    Raises:
        SourceError: the settings contradict each other.
        StoreError: a picture could not be written.
    """
    from lpt import world  # noqa: PLC0415 (numpy and the renderer's templates: only for who wants scenes)

    made = world.scenes(_checked(settings, limit, ("rich", "plain")), seed, settings.style)
    yield from _rows(((name, world.describe(scene), partial(world.png, scene)) for scene, name in made), images)


def boards(settings: CaptionSettings, images: Path, seed: int, limit: int | None = None) -> Iterator[Row | Bad]:
    """Render boards, the small world of recipes/miniature.toml, as `scenes` does with scenes.

    Raises:
        SourceError: the settings contradict each other.
        StoreError: a picture could not be written.
    """
    from lpt.world.boards.board import board  # noqa: PLC0415
    from lpt.world.boards.picture import STYLES, png  # noqa: PLC0415
    from lpt.world.boards.talk import caption  # noqa: PLC0415
    from lpt.world.words import draw  # noqa: PLC0415

    def made() -> Iterator[_Rendered]:
        for index in range(_checked(settings, limit, STYLES)):
            one = board(draw("board", seed, index))
            name = f"board-{settings.style}-{seed}-{index:06d}"
            yield name, caption(one), partial(png, one, f"{seed}-{index}", settings.style)

    yield from _rows(made(), images)


RENDERED: dict[str, Callable[[CaptionSettings, Path, int, int | None], Iterator[Row | Bad]]] = {
    "scenes": scenes,
    "boards": boards,
}
"""The sources that are rendered, by name."""


def _checked(settings: CaptionSettings, limit: int | None, styles: tuple[str, ...]) -> int:
    """How many are to be rendered, if the settings are sound."""
    name = settings.source
    if settings.path is not None:
        raise SourceError(
            f'captions.path is set, but captions.source is "{name}", which are rendered: take one out'
        )
    if settings.style not in styles:
        raise SourceError(f'captions.style is "{settings.style}", but {name} are {" or ".join(styles)}: choose one')
    count = settings.count or DEFAULT_COUNT
    return count if limit is None else min(count, limit)


def _rows(rendered: Iterable[_Rendered], images: Path) -> Iterator[Row]:
    try:
        images.mkdir(parents=True, exist_ok=True)
        _discard_stale(images)
        for name, caption, paint in rendered:
            path = images / f"{name}.png"
            if not path.exists():
                _put(path, paint())
            yield Row(name, path, path.name, caption)
    except OSError as error:
        raise StoreError(
            f"pictures could not be written to {images}: {error.strerror or error}. See to the disk, run it again"
        ) from error


def _discard_stale(images: Path) -> None:
    """Remove pictures that another version of the renderer made: a caption must tell what its picture shows."""
    from lpt import world  # noqa: PLC0415

    sources = sorted(Path(world.__path__[0]).rglob("*.py"))
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
