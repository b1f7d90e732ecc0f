"""A list of captioned images: one JSON object a line, with `image`, `caption` and, optionally, `id`."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lpt.captions.base import Bad, Fault, Row, images_of, needed
from lpt.captions.lines import image_of, name_of, objects, text_of
from lpt.captions.paths import locate, shown
from lpt.errors import SourceError
from lpt.settings import CaptionSettings


def jsonl(settings: CaptionSettings, base: Path) -> Iterator[Row | Bad]:
    """Rows of a list. Image paths are relative to `images`, by default the list's own folder.

    A row without an id goes by its image's path; the second caption of an image by `PATH#2`, and so on.

    Raises:
        SourceError: there is no such list, or no such folder.
    """
    path = needed(settings, base, "a JSON Lines file")
    if not path.is_file():
        raise SourceError(
            f"captions.path: {path} is not a file; the source `jsonl` reads one (`folder` reads folders)"
        )
    yield from listed(path, images_of(settings, base), id_field="id", image_field="image", caption_field="caption")


def listed(path: Path, root: Path, *, id_field: str, image_field: str, caption_field: str) -> Iterator[Row | Bad]:
    """Rows of a list whose fields have these names."""
    captions: Counter[str] = Counter()
    for number, found in objects(path):
        if isinstance(found, Bad):
            yield found
            continue
        made = _row(found, root, id_field, image_field, caption_field)
        if isinstance(made, Fault):
            name = found.get(id_field)
            name = shown(name) if isinstance(name, str) and name.strip() else f"line {number}"
            yield Bad(name, made.reason, f"line {number}: {made.detail}")
        elif found.get(id_field) is None:
            captions[made.rel] += 1
            count = captions[made.rel]
            name = made.rel if count == 1 else f"{made.rel}#{count}"
            yield Row(name, made.path, made.rel, made.text)
        else:
            yield made


def _row(row: dict[str, Any], root: Path, id_field: str, image_field: str, caption_field: str) -> Row | Fault:
    image = image_of(row, image_field)
    text = text_of(row, caption_field)
    name = name_of(row, id_field, "")
    for part in (image, text, name):
        if isinstance(part, Fault):
            return part
    assert isinstance(image, str)
    place = locate(root, image)
    if isinstance(place, Fault):
        return place
    assert isinstance(text, str)
    assert isinstance(name, str)
    return Row(name, *place, text)
