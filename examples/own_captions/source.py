"""A caption source of one's own: COCO-style annotations, where several sentences belong to one image."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from lpt import Bad, Row
from lpt.captions.base import Place


def coco(captions: Place, base: Path) -> Iterator[Row | Bad]:
    """Yield a row for each image: its sentences, joined, are its caption.

    `captions` is the recipe's [captions], `base` the folder that its relative paths start from. To read, hash and
    decode the images is not the source's business; what it yields as `Bad` is counted as a drop.
    """
    told = json.loads((base / str(captions.path)).read_text(encoding="utf-8"))
    sentences: dict[int, list[str]] = defaultdict(list)
    for annotation in told["annotations"]:
        sentences[annotation["image_id"]].append(annotation["caption"])
    root = base / str(captions.images)
    for image in told["images"]:
        name = image["file_name"]
        if said := sentences[image["id"]]:
            yield Row(source_id=name, path=root / name, rel=name, text=" ".join(said))
        else:
            yield Bad(name, "no-caption", "no annotation has its image_id")
