"""Small runs on disk, made of the tables that a composition leaves behind."""

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from lpt.recipe import Recipe
from lpt.records import Caption, Example, Pair, Split, digest
from lpt.settings import CaptionSettings
from lpt.store.run import Run
from lpt.store.tables import write_table

HELD_OUT = "f"
"""Images whose hash starts so are held out."""


def image_hash(number: int) -> str:
    return digest("picture", number)


def split_of(image: str) -> Split:
    return "validation" if image.startswith(HELD_OUT) else "train"


def picture(run: Run, image: str, *, size: tuple[int, int] = (32, 24)) -> None:
    run.images.mkdir(exist_ok=True)
    colour = int(image[:2], 16), int(image[2:4], 16), int(image[4:6], 16)
    Image.new("RGB", size, colour).save(run.images / f"{image}.png")


def caption(image: str, path: str | None = None) -> Caption:
    return Caption(
        id=digest("caption", image),
        image=image,
        path=f"{image}.png" if path is None else path,
        text="A picture.",
        source="folder",
        source_id=image,
        split=split_of(image),
    )


def example(image: str, **fields: str) -> Example:
    values = {
        "set": "long",
        "category": "X→O",
        "question": "q",
        "source": "s",
        "cue": "Wait,",
        "system": "Think first.",
        "prompt": "What colour is it?\n(A) red\n(B) blue",
        "prefix": "<think> It looks blue.",
        "target": "\nWait, it is red. </think> <answer> (A) </answer>",
        **fields,
    }
    return Example(id=digest(image, *values.values()), image=image, split=split_of(image), **values)


def pair(image: str, **fields: str) -> Pair:
    values = {
        "category": "X→O≻X",
        "question": "q",
        "system": "Think first.",
        "prompt": "What colour is it?\n(A) red\n(B) blue",
        "chosen": "<think> It looks blue.\nWait, it is red. </think> <answer> (A) </answer>",
        "rejected": "<think> It looks blue. </think> <answer> (B) </answer>",
        "chosen_source": "c",
        "rejected_source": "r",
        "shared": "It looks blue.",
        **fields,
    }
    return Pair(id=digest(image, *values.values()), image=image, split=split_of(image), **values)


def make_run(
    path: Path,
    examples: Iterable[Example],
    pairs: Iterable[Pair] = (),
    *,
    captions: Iterable[Caption] | None = None,
    pictures: bool = True,
    settings: CaptionSettings | None = None,
) -> Run:
    """A run with these rows, a caption for each image, and (unless told otherwise) its picture."""
    run = Run.create(path, Recipe(captions=settings or CaptionSettings()))
    examples = sorted(examples, key=lambda row: row.image)
    pairs = sorted(pairs, key=lambda row: row.image)
    images = sorted({row.image for row in examples} | {row.image for row in pairs})
    write_table(run.table_path("captions"), Caption, captions or [caption(image) for image in images])
    write_table(run.table_path("sft"), Example, examples)
    write_table(run.table_path("preferences"), Pair, pairs)
    if pictures:
        for image in images:
            picture(run, image)
    return run
