"""A student from nothing: the same again from its seed, whatever stopped it, and an ordinary checkpoint."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from lpt.cli import app  # noqa: E402
from lpt.errors import UserError  # noqa: E402
from lpt.miniature import lessons  # noqa: E402
from lpt.miniature.build import SIZES, build  # noqa: E402
from lpt.world.boards.board import board  # noqa: E402
from lpt.world.boards.picture import picture  # noqa: E402
from lpt.world.words import draw  # noqa: E402
from tests.miniature.small import make, schooling, weights  # noqa: E402


class Stopped(Exception):
    """As Ctrl-C would, at a step."""


def stop_at(step: int, out: Path) -> None:
    def told(now: int) -> None:
        if now == step:
            raise Stopped

    with pytest.raises(Stopped):
        make(out, told)


def test_a_seed_is_a_student(built: Path, tmp_path: Path) -> None:
    again, other = make(tmp_path / "again"), make(tmp_path / "other", seed=1)
    assert weights(again) == weights(built)
    assert weights(other) != weights(built)
    for name in ("tokenizer.json", "config.json", "curves.svg", "schooling.json"):
        assert (again / name).read_bytes() == (built / name).read_bytes(), name


def test_a_build_that_was_killed_goes_on_to_the_same_student(built: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "tests.miniature.small", str(out), "10"]
    child = subprocess.run(command, check=False, capture_output=True, cwd=Path(__file__).parents[2])
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    assert (out / "build-state.pt").exists()
    assert not (out / "build.json").exists()
    steps: list[int] = []
    make(out, steps.append)
    assert steps == [10, 13]  # what came before is not done twice
    assert weights(out) == weights(built)
    assert not (out / "build-state.pt").exists()


def test_wherever_it_is_stopped(built: Path, tmp_path: Path) -> None:
    """In sight, inside a term, at the end of one, at the very last step."""
    out = tmp_path / "stopped"
    for step in (6, 7, 13):
        stop_at(step, out)
    make(out)
    assert weights(out) == weights(built)
    one, two = ([json.loads(line) for line in (each / "curves.jsonl").open()] for each in (out, built))
    assert one == two


def test_a_folder_with_another_student_or_a_whole_one_is_refused(built: Path, tmp_path: Path) -> None:
    out = tmp_path / "begun"
    stop_at(6, out)
    with pytest.raises(UserError, match="another schooling"):
        make(out, seed=1)
    before = weights(built)
    with pytest.raises(UserError, match="a whole student already"):
        build(schooling(), built)
    assert weights(built) == before


def test_plain_transformers_loads_it_and_it_speaks(built: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(built, tmp_path / "moved")
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder)
    tokens = transformers.AutoTokenizer.from_pretrained(folder)
    images = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    shown: Image.Image = picture(board(draw("shown")), "grain")
    seen = images(images=[shown], return_tensors="pt")
    assert seen["image_grid_thw"].tolist() == [[1, 8, 8]]
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Describe the board."}]}
    text = tokens.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
    ids = tokens(text.replace("<|image_pad|>", "<|image_pad|>" * 16), return_tensors="pt")["input_ids"]
    marks = (ids == model.config.image_token_id).long()
    out = model.generate(input_ids=ids, mm_token_type_ids=marks, **seen, max_new_tokens=4, min_new_tokens=4)
    assert out.shape[1] == ids.shape[1] + 4
    assert json.loads((built / "build.json").read_bytes())["schooling"]["sight"] == 3
    assert "<svg" in (built / "curves.svg").read_text(encoding="utf-8")


def test_every_size_is_of_lessons_that_there_are() -> None:
    one = board(draw("a lesson"))
    for size in SIZES.values():
        for term in size.terms:
            for kind in term.shares:
                assert lessons.lesson(one, draw("a lesson", kind), {kind: 1.0}).reply


def test_a_size_that_there_is_not_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["miniature", "build", "--size", "huge", "-o", str(tmp_path / "student")])
    assert isinstance(done.exception, UserError)
    assert str(done.exception) == f"--size is {' or '.join(SIZES)}, not 'huge'"
    assert not (tmp_path / "student").exists()
