"""For ms-swift 4.6: JSON lines whose assistant turn comes in pieces, each of which says whether it is learnt.

The prefix of an X→O example is a piece with `"loss": false`. In pairs, the wrong thought that both sides begin with
is such a piece on either side, so the whole turn of each is in its row, and neither the preference term (where it
would cancel) nor the SFT term on the chosen side touches it.
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
from lpt.exports.turns import Choice, Turn
from lpt.records import Example, Pair
from lpt.store.run import Run

IMAGE = "<image>"
"""What ms-swift puts the image's tokens in the place of."""

_SHARED = {
    "prompt": "It is a piece without loss on both sides, so no SFT term on the chosen side teaches it.",
    "response": "It carries loss here: an SFT term (`--rpo_alpha`) on the chosen side would teach it.",
}
_HELD_OUT = " \\\n        --val_dataset {name}_validation.jsonl --eval_strategy epoch"


def export(
    run: Run,
    out: Path,
    *,
    shared: Shared = "prompt",
    allow_missing_images: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write a run's sets for ms-swift.

    Args:
        run: the run.
        out: the folder to write into.
        shared: whether the wrong thought that both sides of an X→O pair begin with is given, as what stands in
            the prompt is, or counts as part of the responses.
        allow_missing_images: let rows refer to images that are not there by their recorded names.
        progress: is told how many images are done, of how many.

    Raises:
        UserError: no sets, no images, an unknown option.
        StoreError: the disk failed.
    """
    rows = _Pieces(given=in_prompt(shared))
    exported = export_rows(run, out, rows, "jsonl", allow_missing_images=allow_missing_images, progress=progress)
    readme = beside(
        "swift_README.md",
        SHARED=_SHARED[shared],
        SFT=_held_out("lpt_sft_long", exported),
        DPO=_held_out("lpt_preferences", exported),
    )
    return msgspec.structs.replace(exported, files=(*exported.files, put(out / "README.md", readme.encode())))


class _Pieces(Rows):
    def __init__(self, *, given: bool) -> None:
        self._given = given

    def example(self, example: Example, turn: Turn, image: str) -> dict[str, Any]:
        return {
            "messages": [*_conversation(turn.system, turn.prompt), *_pieces(turn.prefix, turn.target)],
            "images": [image],
            "metadata": example_metadata(example),
        }

    def pair(self, pair: Pair, choice: Choice, image: str) -> dict[str, Any]:
        turns = _conversation(choice.system, choice.prompt)
        prefix, said = (choice.shared, "") if self._given else ("", choice.shared)
        return {
            "messages": [*turns, *_pieces(prefix, said + choice.chosen)],
            "rejected_messages": [*turns, *_pieces(prefix, said + choice.rejected)],
            "images": [image],
            "rejected_images": [image],  # what is rejected in messages of its own takes over nothing
            "metadata": pair_metadata(pair),
        }


def _conversation(system: str, prompt: str) -> list[dict[str, Any]]:
    user = {"role": "user", "content": IMAGE + prompt}
    return [{"role": "system", "content": system}, user] if system else [user]


def _pieces(prefix: str, rest: str) -> list[dict[str, Any]]:
    learnt = {"role": "assistant", "content": rest, "loss": True}
    return [{"role": "assistant", "content": prefix, "loss": False}, learnt] if prefix else [learnt]


def _held_out(name: str, exported: Exported) -> str:
    return _HELD_OUT.format(name=name) if f"{name}_validation" in exported.counts else ""
