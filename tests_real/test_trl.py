"""TRL on what `lpt export --to trl` writes, by the loader that stands beside it."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import INSIDE, call
from exported import Row, lpt, rows, said

pytestmark = pytest.mark.tool("trl")
checks = pytest.mark.checks
Note = Callable[[str], None]

END = "<|im_end|>"
PAD = "<|image_pad|>"


@pytest.fixture(scope="module")
def sets(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's sets."""
    folder = tmp_path_factory.mktemp("trl") / "sets"
    lpt("export", demo, "--to", "trl", "--out", folder)
    return folder


@pytest.fixture(scope="module")
def train(
    sets: Path,
    environment: Callable[[str], Path],
    tiny: Callable[[str, str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, str], tuple[list[Row], list[float]]]:
    """Train two steps; each row as the trainer sees it, and the losses."""

    def steps(stage: str, name: str) -> tuple[list[Row], list[float]]:
        out = tmp_path_factory.mktemp("saves")
        output = call(environment("trl"), INSIDE / "trl_steps.py", sets, tiny("trl", "vision"), out, stage, name)
        (losses,) = said(output, "LOSSES ")
        return said(output, "ROW "), losses

    return steps


def one_image(text: str) -> str:
    """A text with an image's places as one."""
    while PAD + PAD in text:
        text = text.replace(PAD + PAD, PAD)
    return text


@checks(
    "two SFT steps; every row: loss on continuation, answer and one end of turn, none on prompt, image and prefix"
)
def test_sft(sets: Path, train: Callable[[str, str], tuple[list[Row], list[float]]], note: Note) -> None:
    made, losses = train("sft", "lpt_sft_long_train")
    written = rows(sets, "lpt_sft_long_train")
    assert len(made) == len(written)
    for row, seen in zip(written, made, strict=True):
        assert seen["learnt"] == row["completion"]
        assert seen["learnt"].endswith(END)
        assert seen["learnt"].count(END) == 1
        assert one_image(seen["given"]) == row["prompt"]
    corrected = [seen for row, seen in zip(written, made, strict=True) if row["metadata"]["category"] == "X→O"]
    assert corrected
    for seen in corrected:  # the wrong thought is the end of what is given
        assert "<think>" in seen["given"].rpartition("assistant\n")[2]
        assert "<think>" not in seen["learnt"]
    print(f"\nlabels of one X→O example: {one_image(corrected[0]['given'])}|{corrected[0]['learnt']}|")
    assert len(losses) == 2
    assert all(map(math.isfinite, losses))
    note(f"{len(made)} rows, {len(corrected)} of them X→O; losses {losses}")


@checks("two DPO steps: the first loss is ln 2; both sides learnt whole, each with one end of turn")
def test_dpo(sets: Path, train: Callable[[str, str], tuple[list[Row], list[float]]], note: Note) -> None:
    made, losses = train("dpo", "lpt_preferences_train")
    written = rows(sets, "lpt_preferences_train")
    assert len(made) == 2 * len(written)
    for seen in made:
        row = written[seen["row"]]
        assert seen["learnt"] == row[seen["side"]]
        assert seen["learnt"].count(END) == 1
        assert one_image(seen["given"]) == row["prompt"]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-4)
    assert losses[1] != pytest.approx(losses[0], abs=1e-6)
    note(f"{len(written)} pairs; losses {losses}")
