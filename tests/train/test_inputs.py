"""What a user may get wrong, or lack: said before the first step, in words that say what to do."""

import errno
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lpt.errors import RecipeError, StoreError, UserError
from lpt.exports import export
from lpt.store.run import Run
from lpt.train import settings
from lpt.train.settings import TrainRecipe
from tests.exports.runs import example, image_hash, make_run
from tests.train.conftest import recipe

pytest.importorskip("torch")
pytest.importorskip("trl")

from lpt.train import folders, session
from lpt.train.prepare import Prepared, prepare, shown, summary

TRAIN = [image for image in map(image_hash, range(40)) if not image.startswith("f")]


def test_every_recipe_that_comes_with_it_loads_and_says_what_was_published():
    assert settings.names() == [
        *("captions-control", "lora-24gb", "paper-dpo", "paper-sft", "released-dpo", "released-sft")
    ]
    found = {}
    for name in settings.names():
        stage: Any = "dpo" if name.endswith("dpo") else "sft"
        found[name] = settings.load(name, stage)
    sft, dpo = found["paper-sft"], found["paper-dpo"]
    assert (sft.optimizer.learning_rate, sft.optimizer.epochs, sft.optimizer.batch, sft.data.cutoff) == (
        *(1e-5, 5, 256, 1024),
    )
    assert sft.optimizer.warmup_steps == 5
    assert sft.model.train == "decoder"
    assert sft.data.max_pixels == 512 * 512
    assert (dpo.dpo.beta, dpo.dpo.sft_weight, dpo.optimizer.epochs) == (1.0, 0.5, 3)
    released = found["released-dpo"]
    assert (released.dpo.beta, released.dpo.sft_weight, released.optimizer.learning_rate) == (0.2, 1.0, 6e-6)
    assert found["released-sft"].data.cutoff == 2048
    assert found["captions-control"].data.set == "captions"
    assert found["lora-24gb"].model.train == "lora"


def test_a_recipe_is_refused_with_its_place_and_the_nearest_right_name(tmp_path: Path):
    with pytest.raises(RecipeError, match=r"no training recipe .papersft.*paper-sft"):
        settings.load("papersft", "sft")
    with pytest.raises(RecipeError, match="is a recipe for sft"):
        settings.load("paper-sft", "dpo")
    path = tmp_path / "mine.toml"
    path.write_text('stage = "sft"\n[optimizer]\nlearningrate = 1\n')
    with pytest.raises(RecipeError, match=r"line 3: there is no setting `optimizer.learningrate`.*learning_rate"):
        settings.load(str(path), "sft")
    path.write_text('stage = "sft"\n[model]\ntrain = "half"\n')
    with pytest.raises(RecipeError, match=r"line 3: `model.train`.*decoder, lora, everything"):
        settings.load(str(path), "sft")
    printed = settings.load("paper-dpo", "dpo", ("dpo.beta=0.3",)).toml()
    path.write_text(printed)
    assert settings.load(str(path), "dpo").dpo.beta == 0.3


def test_a_batch_that_cannot_be_divided_says_what_can():
    asked = msgspec.convert({"stage": "sft", "optimizer": {"batch": 10, "at_once": 4}}, TrainRecipe)
    with pytest.raises(UserError, match=r"optimizer.batch=8"):
        settings.accumulation(asked, 2)
    assert settings.accumulation(msgspec.structs.replace(asked, optimizer=settings.OptimizerSettings()), 8) == 32


def test_a_folder_that_is_neither_run_nor_export(tiny_model: Path, tmp_path: Path):
    with pytest.raises(UserError, match="neither a run nor an export"):
        prepare(tmp_path, tmp_path / "out", recipe("sft", tiny_model))


def test_a_run_without_rows_of_the_set(tiny_model: Path, tmp_path: Path):
    run = make_run(tmp_path / "run", [example(TRAIN[0])])
    with pytest.raises(UserError, match=r"no rows of lpt_preferences_train"):
        prepare(run.path, tmp_path / "out", recipe("dpo", tiny_model))
    empty = make_run(tmp_path / "empty", [])
    with pytest.raises(UserError, match=r"sets of .* are empty"):
        prepare(empty.path, tmp_path / "out", recipe("sft", tiny_model))


def test_images_that_are_missing(tiny_model: Path, tmp_path: Path):
    run = make_run(tmp_path / "run", [example(image) for image in TRAIN[:3]])
    (run.images / f"{TRAIN[0]}.png").unlink()
    found = summary(prepare(run.path, tmp_path / "out", recipe("sft", tiny_model)))
    assert found.skipped == {"image-missing": 1}
    assert found.examples == 2
    export(run, "trl", tmp_path / "sets", template=str(tiny_model))
    next((tmp_path / "sets" / "images").iterdir()).unlink()
    with pytest.raises(UserError, match=r"line 1: there is no image .* export the run again"):
        prepare(tmp_path / "sets", tmp_path / "out2", recipe("sft", tiny_model))


def test_an_image_that_is_none(tiny_model: Path, tmp_path: Path):
    run = make_run(tmp_path / "run", [example(TRAIN[0])])
    export(run, "trl", tmp_path / "sets", template=str(tiny_model))
    (picture,) = (tmp_path / "sets" / "images").iterdir()
    picture.write_bytes(b"no image")
    with pytest.raises(UserError, match="cannot be made into pixels"):
        prepare(tmp_path / "sets", tmp_path / "out", recipe("sft", tiny_model))


def test_an_export_by_another_models_template(tiny_model: Path, tmp_path: Path):
    run = make_run(tmp_path / "run", [example(TRAIN[0])])
    template = (tiny_model / "chat_template.jinja").read_text()
    other = tmp_path / "other.jinja"
    other.write_text(template.replace("<|im_start|>", "<|turn|>").replace("<|im_end|>", "<|end|>"))
    export(run, "trl", tmp_path / "sets", template=str(other))
    with pytest.raises(UserError, match="chat template of another model"):
        prepare(tmp_path / "sets", tmp_path / "out", recipe("sft", tiny_model))
    other.write_text(template.replace("<|image_pad|>", "<image>"))
    export(run, "trl", tmp_path / "sets", template=str(other))
    with pytest.raises(UserError, match="another model"):
        prepare(tmp_path / "sets", tmp_path / "out", recipe("sft", tiny_model))


def test_a_run_and_its_export_are_the_same_rows(a_run: Run, tiny_model: Path, tmp_path: Path):
    export(a_run, "trl", tmp_path / "sets", template=str(tiny_model))
    for stage in ("sft", "dpo"):
        one = prepare(a_run.path, tmp_path / stage, recipe(stage, tiny_model))
        two = prepare(tmp_path / "sets", tmp_path / f"{stage}2", recipe(stage, tiny_model))
        assert one.fingerprint == two.fingerprint
        assert [row.sides for row in one.train.rows] == [row.sides for row in two.train.rows]


def test_examples_longer_than_the_cutoff_are_refused_or_counted_and_never_cut(tiny_model: Path, tmp_path: Path):
    long = example(TRAIN[1], target="\nWait, " + "it is red. " * 40 + "</think> <answer> (A) </answer>")
    run = make_run(tmp_path / "run", [example(TRAIN[0]), long])
    with pytest.raises(UserError, match=r"1 of 2 examples are longer than data.cutoff = 100.*data.cutoff=\d+"):
        prepare(run.path, tmp_path / "out", recipe("sft", tiny_model, data={"cutoff": 100}))
    settings_ = recipe("sft", tiny_model, data={"cutoff": 100, "longer": "drop"})
    found = summary(prepare(run.path, tmp_path / "out", settings_))
    assert (found.examples, found.left_out) == (1, {"longer-than-cutoff": 1})


def test_what_holds_no_answer_is_left_out_and_counted(tiny_model: Path, tmp_path: Path):
    run = make_run(tmp_path / "run", [example(TRAIN[0]), example(TRAIN[1], target="\nWait, it is red.")])
    found = summary(prepare(run.path, tmp_path / "out", recipe("sft", tiny_model)))
    assert (found.examples, found.left_out) == (1, {"not-one-answer": 1})
    found = summary(prepare(run.path, tmp_path / "out", recipe("sft", tiny_model, data={"answers": False})))
    assert (found.examples, found.left_out) == (2, {})


def test_captions_are_learnt_whole(a_run: Run, tiny_model: Path, tmp_path: Path):
    prepared = prepare(a_run.path, tmp_path, recipe("sft", tiny_model, data={"set": "captions"}))
    assert {row.category for row in prepared.train.rows} == {"caption"}
    ((_, _, tokens),) = shown(prepared, 1)
    assert "".join(text for text, learnt, _ in tokens if learnt) == "A picture.<|im_end|>\n"


def test_models_that_cannot_be_trained(a_run: Run, tiny_model: Path, tmp_path: Path):
    empty = tmp_path / "empty"
    empty.mkdir()
    wrong = ((None, "no model is named"), (str(tmp_path / "none"), "no model at"), (str(empty), "no chat template"))
    for name, why in wrong:
        asked = msgspec.structs.replace(recipe("sft", tiny_model), model=settings.ModelSettings(name=name))
        with pytest.raises(UserError, match=why):
            prepare(a_run.path, tmp_path / "out", asked)
    text = tmp_path / "text"
    shutil.copytree(tiny_model, text)
    config = msgspec.json.decode((text / "config.json").read_bytes())
    (text / "config.json").write_bytes(msgspec.json.encode(config["text_config"] | {"model_type": "qwen2"}))
    with pytest.raises(UserError, match="no vision-language model"):
        prepare(a_run.path, tmp_path / "out", recipe("sft", text))


@pytest.fixture
def ready(a_run: Run, tiny_model: Path, tmp_path: Path) -> Prepared:
    return prepare(a_run.path, tmp_path / "out", recipe("sft", tiny_model))


def test_a_disk_that_is_too_small_is_told_of_before_the_first_step(
    ready: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StoreError, match=r"checkpoints will take .* GB"):
        session.train(ready, tmp_path / "out")
    assert not list((tmp_path / "out").glob("checkpoint-*"))


def test_a_disk_that_gets_full_at_a_checkpoint_is_told_of_and_training_goes_on_from_the_one_before(
    ready: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import torch

    out = tmp_path / "out"
    whole = torch.save

    def full(what: object, where: Any, *words: Any, **named: Any) -> None:
        if "checkpoint-4" in str(where):
            Path(where).write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(what, where, *words, **named)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(StoreError, match=r"checkpoint could not be written.*--resume"):
        session.train(ready, out)
    monkeypatch.undo()
    found = folders.last(out)
    assert found is not None
    assert found[0].name == "checkpoint-2"
    assert session.train(ready, out, resume=True).steps == 4


def test_the_help_and_the_recipes_need_no_torch():
    code = """
import sys
for name in ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "huggingface_hub", "tokenizers"):
    sys.modules[name] = None
from typer.testing import CliRunner
from lpt.cli import app
for words in (["train", "sft", "--help"], ["train", "dpo", "--help"]):
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    assert "--show-masks" in found.output
found = CliRunner().invoke(app, ["train", "sft", "nowhere", "--dry-run", "--model", "nowhere"])
print(found.exception)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pip install 'long-perceptual-thoughts[train]'" in done.stdout
