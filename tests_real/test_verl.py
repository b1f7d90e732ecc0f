"""verl on what `lpt export --to verl` writes: its own data loader, its own reward manager, no training."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from conftest import INSIDE, call
from exported import Row, lpt, said

pytestmark = pytest.mark.tool("verl")
checks = pytest.mark.checks
Note = Callable[[str], None]

SRC = Path(__file__).parent.parent / "src"


@pytest.fixture(scope="module")
def sets(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's questions."""
    folder = tmp_path_factory.mktemp("verl") / "sets"
    lpt("export", demo, "--to", "verl", "--out", folder)
    return folder


@pytest.fixture(scope="module")
def loaded(sets: Path, environment: Callable[[str], Path], tiny: Callable[[str, str], Path]) -> list[Row]:
    """Each question as verl has it, with the rewards of three replies."""
    script, reward = INSIDE / "verl_rewards.py", sets / "reward.py"
    output = call(environment("verl"), script, sets / "lpt_rl_train.parquet", tiny("verl", "vision"), reward, SRC)
    return said(output, "ROW ")


@checks("its data loader: every question, its picture and one place for it; none too long or lost on the way")
def test_loader(sets: Path, loaded: list[Row], note: Note) -> None:
    written = pl.read_parquet(sets / "lpt_rl_train.parquet").to_dicts()
    assert [row["id"] for row in loaded] == [row["extra_info"]["id"] for row in written]
    assert [row["index"] for row in loaded] == list(range(len(written)))
    for seen, row in zip(loaded, written, strict=True):
        assert len(seen["sizes"]) == len(row["images"]) == 1
        assert min(seen["sizes"][0]) > 28
        assert seen["text"].count("<|image_pad|>") == 1
        words = row["prompt"][-1]["content"].removeprefix("<image>")
        assert f"<|vision_end|>{words}<|im_end|>" in seen["text"]
        assert seen["tokens"] > len(words.split())
    note(f"{len(loaded)} questions, pictures of {sorted({tuple(size) for row in loaded for size in row['sizes']})}")


@checks(
    "its reward manager with the `reward.py` beside the set: 1 for the right option, 0 for a wrong one, 0 for none"
)
def test_rewards(loaded: list[Row], note: Note) -> None:
    assert loaded
    for row in loaded:
        assert row["scores"] == {"right": 1.0, "wrong": 0.0, "unclear": 0.0}, row["id"]
    note(f"{3 * len(loaded)} replies")
