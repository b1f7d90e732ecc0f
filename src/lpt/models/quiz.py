"""The small questions that the doctor asks, and what their answers are held against."""

import io
import json
from collections.abc import Mapping
from typing import Any

from lpt.models.base import Image, Message, Request, Sampling

# Long enough that a prefix cache has whole blocks of it to keep (vLLM on a CPU: 128 tokens).
TALK = """\
Below are a description of a picture, some advice, and a question about it. Read all of it before you begin.

A simple diagram with four colored shapes on a pale page. A blue star can be seen in the bottom row, at the \
center. A red square can be seen in the bottom row, at the right. A red star sits at the right of the top row. \
One finds a yellow star in the middle row, at the right.

Take the shapes one after the other and say where each of them is. Then say which of them are near one another, \
and which have the same color. Nothing else is in the picture: there are no people in it, no animals and no \
letters, and the page behind the shapes has one color everywhere. There is no hurry, and there is no need for \
headings, for lists or for tables: whole sentences are best. If something is not said in the description, say so.

Question: How many stars are there?
(A) one
(B) two
(C) three
(D) four

Think aloud about it in a few sentences, then answer with the letter."""
COUNT = "Count from one to ten in English words, separated by commas. Nothing else."
# Breaks off within a word: only who goes on with the turn says the rest of it.
BEGUN = "one, two, three, four, fi"
REST = "ve"
COLOR = "Which color fills the picture? (A) red (B) blue (C) green (D) yellow. Answer with the name of the color."
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"surface": {"enum": ["velvet", "gravel"]}, "edges": {"enum": ["frayed", "waxed"]}},
    "required": ["surface", "edges"],
    "additionalProperties": False,
}


def pictures() -> list[Image]:
    """A red one and a blue one."""
    from PIL import Image as Picture  # noqa: PLC0415 (only who asks about pictures needs it)

    made = []
    for color in ("red", "blue"):
        file = io.BytesIO()
        Picture.new("RGB", (224, 224), color).save(file, "PNG")
        made.append(Image(key=f"doctor {color}", data=file.getvalue(), media_type="image/png"))
    return made


def request(
    text: str,
    *,
    images: tuple[Image, ...] = (),
    n: int = 1,
    seed: int = 1,
    temperature: float = 0.0,
    max_tokens: int = 32,
    bad_words: tuple[str, ...] = (),
    prefill: str | None = None,
    schema: Mapping[str, Any] | None = None,
) -> Request:
    """A short question; greedy, unless a temperature is given."""
    sampling = Sampling(temperature=temperature, max_tokens=max_tokens, bad_words=bad_words)
    return Request(
        stage="doctor",
        record="doctor",
        messages=(Message("user", text, images),),
        prefill=prefill,
        sampling=sampling,
        schema=schema,
        seed=seed,
        n=n,
    )


def conforms(text: str) -> bool:
    """Whether a reply is JSON of the form `SCHEMA`."""
    try:
        found = json.loads(text, strict=False)  # raw control characters are let through by some
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(found, dict)
        and found.keys() == {"surface", "edges"}
        and found["surface"] in ("velvet", "gravel")
        and found["edges"] in ("frayed", "waxed")
    )
