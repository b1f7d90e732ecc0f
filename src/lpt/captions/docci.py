"""DOCCI as it is published: `docci_descriptions.jsonlines`, and the images in `images/` beside it."""

from collections.abc import Iterator
from pathlib import Path

from lpt.captions.base import Bad, Row, images_of, needed
from lpt.captions.jsonl import lines
from lpt.captions.listing import listed
from lpt.errors import SourceError
from lpt.settings import CaptionColumns, CaptionSettings

DESCRIPTIONS = "docci_descriptions.jsonlines"
COLUMNS = CaptionColumns(image="image_file", caption="description", id="example_id")


def docci(settings: CaptionSettings, base: Path) -> Iterator[Row | Bad]:
    """Rows of DOCCI (Onoe et al. 2024): `example_id`, `image_file`, `description`; its own `split` is not used.

    Raises:
        SourceError: the descriptions or the folder of images are not where they should be.
    """
    path = needed(settings, base, f"the folder that holds {DESCRIPTIONS}, or that file")
    descriptions = path / DESCRIPTIONS if path.is_dir() else path
    if not descriptions.is_file():
        raise SourceError(f"{path} holds no {DESCRIPTIONS}: download it from https://google.github.io/docci/")
    root = images_of(settings, base)
    yield from listed(lines(descriptions), root, COLUMNS)
