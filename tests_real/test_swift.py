"""ms-swift's own template on examples whose assistant turn comes in pieces."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import INSIDE, call
from exported import Row, lpt, rows, said
from lpt.exports import EXPORTERS
from lpt.records import Example
from lpt.store.run import Run

pytestmark = pytest.mark.tool("swift")
checks = pytest.mark.checks
Note = Callable[[str], None]

PAD = "<|image_pad|>"


@pytest.fixture(scope="module")
def written(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set in ms-swift's form: by our exporter, where there is one, else as it will write it."""
    folder = tmp_path_factory.mktemp("swift") / "sets"
    ours = next((name for name in EXPORTERS if "swift" in name), None)
    if ours:
        lpt("export", demo, "--to", ours, "--out", folder)
        return next(folder.glob("lpt_sft_long_train*"))
    lpt("export", demo, "--to", "trl", "--out", folder)  # for its images
    images = {row["metadata"]["id"]: row["images"] for row in rows(folder, "lpt_sft_long_train")}
    path = folder / "pieces.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for example in Run.open(demo).records("sft", Example):
            if example.id in images:
                file.write(json.dumps(_row(example, images[example.id])) + "\n")
    return path


def _row(example: Example, images: list[str]) -> Row:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": example.system},
        {"role": "user", "content": f"<image>{example.prompt}"},
    ]
    if example.prefix:
        messages.append({"role": "assistant", "content": example.prefix, "loss": False})
    messages.append({"role": "assistant", "content": example.target, "loss": True})
    return {"messages": messages, "images": images}


@checks(
    "an assistant turn in pieces: no loss on prompt, image and prefix; loss on continuation, answer and end of turn"
)
def test_labels(
    written: Path, environment: Callable[[str], Path], tiny: Callable[[str, str], Path], note: Note
) -> None:
    output = call(environment("swift"), INSIDE / "swift_labels.py", written, tiny("swift", "vision"))
    made = said(output, "ROW ")
    told = [json.loads(line) for line in written.read_text(encoding="utf-8").splitlines()]
    assert len(made) == len(told)
    pieces = 0
    for row, seen in zip(told, made, strict=True):
        last = row["messages"][-1]["content"]
        assert seen["learnt"].rstrip("\n") == last + "<|im_end|>"
        assert PAD in seen["given"]
        if row["messages"][-2]["role"] == "assistant":
            pieces += 1
            assert seen["given"].endswith(row["messages"][-2]["content"])
    assert pieces
    note(
        f"{len(made)} rows, {pieces} of them in pieces"
        + ("" if "swift" in str(EXPORTERS) else " (rows made by the test)")
    )
