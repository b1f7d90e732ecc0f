"""For TRL: JSON lines in its text format, the chat rendered up to where learning starts.

The conversational format would be wrong here: a prompt that ends in an assistant turn is closed and another turn
is opened, and that is then trained.
"""

from pathlib import Path
from typing import Any

import msgspec

from lpt.exports.base import (
    Exported,
    Rows,
    Shared,
    beside,
    example_metadata,
    export_rows,
    in_prompt,
    pair_metadata,
)
from lpt.exports.images import Progress
from lpt.exports.rows import put
from lpt.exports.turns import Choice, Renderer, Turn
from lpt.records import Example, Pair
from lpt.store.run import Run

_SHARED = {
    "response": "Mask it where the chosen text also has an SFT term, which would otherwise teach it.",
    "prompt": "Here it ends the prompt: it would cancel in the preference term, and no SFT term teaches it.",
}


def export(
    run: Run,
    out: Path,
    *,
    template: str = "chatml",
    shared: Shared = "response",
    allow_missing_images: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write a run's sets for TRL.

    Args:
        run: the run.
        out: the folder to write into.
        template: the chat template of the model to be trained.
        shared: where the wrong thought goes that both sides of an X→O pair begin with: whole in both responses, or
            at the end of the prompt. It is also in a column of its own.
        allow_missing_images: let rows refer to images that are not there by their recorded names.
        progress: is told how many images are done, of how many.

    Raises:
        UserError: no sets, no images, an unknown option.
        StoreError: the disk failed.
    """
    rows = _Text(Renderer(template), given=in_prompt(shared))
    exported = export_rows(run, out, rows, "jsonl", allow_missing_images=allow_missing_images, progress=progress)
    readme = beside("trl_README.md", TEMPLATE=template, SHARED=_SHARED[shared])
    files = (
        *exported.files,
        put(out / "load.py", beside("trl_load.py.txt").encode()),
        put(out / "README.md", readme.encode()),
    )
    return msgspec.structs.replace(exported, files=files)


class _Text(Rows):
    def __init__(self, renderer: Renderer, *, given: bool) -> None:
        self._renderer = renderer
        self._given = given
        # TRL adds another end of turn to a text that does not end in one, such as to one with a newline behind it.
        self._ending = renderer.ending.rstrip()

    def example(self, example: Example, turn: Turn, image: str) -> dict[str, Any]:
        prompt, completion = self._renderer.turn(turn)
        return {
            "prompt": prompt,
            "completion": completion + self._ending,
            "images": [image],
            "metadata": example_metadata(example),
        }

    def pair(self, pair: Pair, choice: Choice, image: str) -> dict[str, Any]:
        prompt, chosen, rejected = self._renderer.choice(choice, give_shared=self._given)
        return {
            "prompt": prompt,
            "chosen": chosen + self._ending,
            "rejected": rejected + self._ending,
            "shared": choice.shared,
            "images": [image],
            "metadata": pair_metadata(pair),
        }
