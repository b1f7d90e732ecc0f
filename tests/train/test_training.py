"""SFT and DPO of a tiny model of the real architecture: what moves, what does not, and that it can be repeated."""

import math
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from lpt.errors import UserError
from lpt.store.run import Run
from tests.train.conftest import recipe

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("trl")

from lpt.train import session  # noqa: E402 (after what it needs)
from lpt.train.prepare import Prepared, prepare  # noqa: E402
from lpt.train.settings import TrainRecipe  # noqa: E402

LN2 = math.log(2)


def made(run: Run, out: Path, settings: TrainRecipe) -> Prepared:
    return prepare(run.path, out, settings)


def losses(out: Path) -> list[float]:
    """The loss of every step that a training's last checkpoint knows of."""
    import json

    last = max(out.glob("checkpoint-*/trainer_state.json"), key=lambda path: int(path.parent.name.split("-")[1]))
    return [entry["loss"] for entry in json.loads(last.read_text())["log_history"] if "loss" in entry]


def weights(folder: Path) -> dict[str, Any]:
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    found: dict[str, Any] = model.state_dict()
    return found


def differ(one: dict[str, Any], two: dict[str, Any]) -> set[str]:
    assert one.keys() == two.keys()
    return {name for name in one if not torch.equal(one[name], two[name])}


def test_the_decoder_moves_and_the_frozen_parts_not_by_a_bit(sft: Path, tiny_model: Path):
    moved = differ(weights(tiny_model), weights(sft / "model"))
    assert moved
    assert not [name for name in moved if "visual" in name]
    assert any("lm_head" in name for name in moved)
    assert any("embed_tokens" in name for name in moved)


def test_everything_moves_when_everything_is_trained(a_run: Run, tiny_model: Path, tmp_path: Path):
    settings = recipe("sft", tiny_model, model={"train": "everything"}, optimizer={"max_steps": 1})
    session.train(made(a_run, tmp_path, settings), tmp_path)
    moved = differ(weights(tiny_model), weights(tmp_path / "model"))
    assert any("visual.patch_embed" in name for name in moved)
    assert any("visual.merger" in name for name in moved)


def test_what_was_trained_is_loaded_by_plain_transformers_and_generates(sft: Path, tiny_model: Path):
    for folder in (sft / "model", sft / "checkpoint-4"):
        model = transformers.AutoModelForImageTextToText.from_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        images = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
        seen = images(images=[Image.new("RGB", (56, 56), (200, 0, 0))], return_tensors="pt")
        text = "<|vision_start|>" + "<|image_pad|>" * 4 + "<|vision_end|>What?"
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        kinds = (ids == model.config.image_token_id).long()
        out = model.generate(
            input_ids=ids, mm_token_type_ids=kinds, **seen, max_new_tokens=3, min_new_tokens=3, do_sample=False
        )
        assert out.shape[1] == ids.shape[1] + 3
        assert (folder / "preprocessor_config.json").exists()
    card = (sft / "README.md").read_text(encoding="utf-8")
    assert "⟦\nWait, it is red. </think> <answer> (A) </answer><|im_end|>\n⟧" in card
    assert "learning_rate = 0.003" in card
    assert (sft / "data" / "lpt_sft_long_train.jsonl").exists()


def test_the_inputs_are_those_of_the_models_own_processor(a_run: Run, tiny_model: Path, tmp_path: Path):
    """Ids, kinds of tokens, pixels: made in pieces, and the same as of the whole text."""
    from lpt.train.collate import Collate

    prepared = made(a_run, tmp_path, recipe("sft", tiny_model))
    encoder = prepared.encoder
    row = next(row for row in prepared.sets.train if row.category == "O")
    (encoded,) = encoder.encode_all([row]).rows
    batch = Collate(encoder.pictures, pad=0, image_token=encoder.image_token).question(
        [(encoded.sides[0], encoded.image)]
    )
    images = transformers.AutoImageProcessor.from_pretrained(tiny_model, backend="pil")
    seen = images(images=[Image.open(row.image)], return_tensors="pt")
    places = int(seen["image_grid_thw"][0].prod()) // 4
    text = row.given.replace("<|image_pad|>", "<|image_pad|>" * places) + row.target  # type: ignore[union-attr]
    assert batch["input_ids"][0].tolist() == encoder.tokenizer(text)["input_ids"]
    assert batch["mm_token_type_ids"].sum() == places
    assert torch.equal(batch["pixel_values"], seen["pixel_values"])
    assert torch.equal(batch["image_grid_thw"], seen["image_grid_thw"])


class Hidden:
    """The last hidden states of a model's next forward pass, whose gradients say what carries loss."""

    def __init__(self, trainer: Any) -> None:
        self.seen: list[Any] = []
        norm = trainer.model.model.language_model.norm
        self.hook = norm.register_forward_hook(self._keep)

    def _keep(self, _module: Any, _given: Any, out: Any) -> None:
        if out.requires_grad:
            out.retain_grad()
            self.seen.append(out)

    def carries(self) -> Any:
        """Which tokens have a gradient: those that are predicted."""
        self.hook.remove()
        (hidden,) = self.seen
        moved = hidden.grad.abs().sum(-1) > 0
        return torch.nn.functional.pad(moved[:, :-1], (1, 0), value=False)


def one_batch(trainer: Any, rows: int = 3) -> dict[str, Any]:
    batch: dict[str, Any] = trainer.data_collator([trainer.train_dataset[at] for at in range(rows)])
    return batch


def test_the_gradient_is_zero_exactly_where_the_mask_says_in_sft(a_run: Run, tiny_model: Path, tmp_path: Path):
    trainer: Any = session.build(made(a_run, tmp_path, recipe("sft", tiny_model)), tmp_path)
    batch = one_batch(trainer, rows=5)
    hidden = Hidden(trainer)
    trainer.model.train()
    trainer.compute_loss(trainer.model, dict(batch)).backward()
    assert torch.equal(hidden.carries(), batch["labels"] != -100)
    learnt = [row["learnt"] for row in trainer.train_dataset]
    assert all(any(one) and not all(one) for one in learnt)


@pytest.mark.parametrize("shared", ["compared", "left-out"])
def test_the_gradient_is_zero_exactly_where_the_masks_say_in_dpo(
    shared: str, a_run: Run, tiny_model: Path, tmp_path: Path
):
    carried = {}
    for sft_weight in (0.0, 0.5):
        settings = recipe("dpo", tiny_model, dpo={"shared": shared, "sft_weight": sft_weight, "reference": "copy"})
        trainer: Any = session.build(made(a_run, tmp_path, settings), tmp_path)
        batch = one_batch(trainer, rows=4)
        hidden = Hidden(trainer)
        trainer.model.train()
        trainer.compute_loss(trainer.model, dict(batch)).backward()
        assert torch.equal(hidden.carries(), batch["completion_mask"].bool())
        carried[sft_weight] = hidden.seen[0].grad
    # The SFT term adds to what is learnt, and to nothing else.
    added = (carried[0.5] - carried[0.0]).abs().sum(-1)[:, :-1] > 1e-9
    assert torch.equal(added, batch["sft_mask"][:, 1:].bool())
    chosen, rejected = batch["sft_mask"].chunk(2)
    assert not rejected.any()
    assert (chosen.sum(1) > 0).all()


def test_what_both_sides_share_cancels_so_that_leaving_it_out_changes_no_step(
    a_run: Run, tiny_model: Path, tmp_path: Path
):
    found = {}
    for shared in ("compared", "left-out"):
        settings = recipe("dpo", tiny_model, dpo={"shared": shared, "reference": "copy"})
        trainer: Any = session.build(made(a_run, tmp_path, settings), tmp_path)
        trainer.model.train()
        trainer.compute_loss(trainer.model, one_batch(trainer, rows=4)).backward()
        found[shared] = [one.grad for one in trainer.model.parameters() if one.grad is not None]
    assert found["compared"]
    for one, two in zip(found["compared"], found["left-out"], strict=True):
        assert torch.allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_four_batches_of_one_make_the_step_of_one_batch_of_four(
    stage: str, a_run: Run, tiny_model: Path, tmp_path: Path
):
    found = {}
    for at_once in (1, 4):
        out = tmp_path / str(at_once)
        settings = recipe(stage, tiny_model, optimizer={"at_once": at_once, "max_steps": 2, "learning_rate": 1e-3})
        session.train(made(a_run, out, settings), out)
        found[at_once] = losses(out), weights(out / "model")
    assert found[1][0] == pytest.approx(found[4][0], abs=2e-4)
    for name, one in found[1][1].items():
        assert torch.allclose(one, found[4][1][name], atol=2e-4), name


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_resuming_gives_what_an_uninterrupted_training_gives(
    stage: str, a_run: Run, tiny_model: Path, tmp_path: Path
):
    settings = recipe(stage, tiny_model, optimizer={"max_steps": 5, "batch": 2, "at_once": 2})
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    session.train(made(a_run, whole, settings), whole)
    again = recipe(stage, tiny_model, optimizer={"max_steps": 5, "batch": 2, "at_once": 2}, keep={"checkpoints": 5})
    # A training that keeps all its checkpoints, of which the second is the last whole one.
    session.train(made(a_run, broken, again), broken)
    for name in ("model", "checkpoint-4", "checkpoint-5"):
        shutil.rmtree(broken / name)
    (broken / "checkpoint-4").mkdir()
    with pytest.raises(UserError, match="--resume"):
        session.train(made(a_run, broken, again), broken)
    session.train(made(a_run, broken, again), broken, resume=True)
    assert losses(broken) == losses(whole)
    assert not differ(weights(whole / "model"), weights(broken / "model"))
    other = recipe(stage, tiny_model, optimizer={"max_steps": 5, "batch": 2, "at_once": 2, "learning_rate": 1e-4})
    with pytest.raises(UserError, match="another recipe"):
        session.train(made(a_run, broken, other), broken, resume=True)


def test_eight_examples_are_learnt_by_heart(a_run: Run, tiny_model: Path, tmp_path: Path):
    prepared = made(
        a_run,
        tmp_path,
        recipe(
            "sft",
            tiny_model,
            optimizer={"max_steps": 120, "learning_rate": 1e-2, "batch": 8, "at_once": 8, "schedule": "constant"},
            validate={"every": 120, "patience": 0},
        ),
    )
    prepared.train = msgspec.structs.replace(prepared.train, rows=prepared.train.rows[:8])
    trained = session.train(prepared, tmp_path)
    assert trained.first_loss > 5
    assert trained.last_loss < 0.03


def test_the_adapter_merges_into_what_it_was_with_the_model(a_run: Run, tiny_model: Path, tmp_path: Path):
    from peft import PeftModel

    settings = recipe("sft", tiny_model, model={"train": "lora"}, optimizer={"learning_rate": 1e-2})
    session.train(made(a_run, tmp_path, settings), tmp_path)
    base = transformers.AutoModelForImageTextToText.from_pretrained(tiny_model)
    adapted = PeftModel.from_pretrained(base, tmp_path / "adapter")
    merged = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "model")
    ids = torch.tensor([[5, 17, 130, 200, 44]])
    with torch.no_grad():
        one, two, plain = (model(input_ids=ids).logits for model in (adapted, merged, adapted.get_base_model()))
        with adapted.disable_adapter():
            plain = adapted(input_ids=ids).logits
    assert torch.allclose(one, two, atol=1e-5)
    assert not torch.allclose(one, plain, atol=1e-3)
    assert not [name for name, _ in adapted.named_parameters() if "lora" in name and "visual" in name]
    # DPO of the adapter's folder starts from the SFT policy.
    from lpt.train import model

    loaded = model.load(tmp_path / "adapter", recipe("dpo", tmp_path / "adapter"))
    with torch.no_grad():
        assert torch.allclose(loaded(input_ids=ids).logits, two, atol=1e-5)


@pytest.mark.parametrize(
    ("train", "reference"), [("decoder", "precomputed"), ("decoder", "copy"), ("lora", "precomputed")]
)
def test_dpo_begins_at_ln_2_and_raises_the_margin(
    train: str, reference: str, sft: Path, a_run: Run, tmp_path: Path
):
    told: list[dict[str, float]] = []
    settings = recipe(
        "dpo",
        sft / "model",
        model={"train": train},
        dpo={"reference": reference, "beta": 0.2, "sft_weight": 1.0},
        optimizer={"learning_rate": 1e-3 if train == "decoder" else 1e-2},
    )
    session.train(made(a_run, tmp_path, settings), tmp_path, tell=lambda step, of, found: told.append(dict(found)))
    steps = [found for found in told if "loss" in found]
    assert steps[0]["dpo_loss"] == pytest.approx(LN2, abs=1e-5)
    assert steps[0]["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert steps[0]["loss"] == pytest.approx(LN2 + steps[0]["sft_loss"], abs=1e-4)
    assert steps[-1]["rewards/margins"] > 0.05
    assert steps[-1]["dpo_loss"] < LN2 - 0.02


def test_the_two_references_give_the_same_training(sft: Path, a_run: Run, tmp_path: Path):
    found = {}
    for reference in ("precomputed", "copy"):
        out = tmp_path / reference
        settings = recipe("dpo", sft / "model", dpo={"reference": reference}, optimizer={"learning_rate": 1e-4})
        session.train(made(a_run, out, settings), out)
        found[reference] = losses(out)
    assert found["precomputed"] == pytest.approx(found["copy"], abs=1e-4)


def test_a_reference_that_is_not_the_start_is_refused(sft: Path, a_run: Run, tmp_path: Path):
    prepared = made(a_run, tmp_path, recipe("dpo", sft / "model", dpo={"reference": "copy"}))
    trainer: Any = session.build(prepared, tmp_path)
    with torch.no_grad():
        trainer.model.lm_head.weight.mul_(1.5)
    with pytest.raises(UserError, match="ln 2"):
        trainer.train()


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_bfloat16_moves_float32_weights_and_writes_bfloat16(
    stage: str, a_run: Run, tiny_model: Path, tmp_path: Path
):
    settings = recipe(
        stage, tiny_model, model={"dtype": "bfloat16"}, memory={"checkpointing": True}, optimizer={"max_steps": 2}
    )
    trained = session.train(made(a_run, tmp_path, settings), tmp_path)
    assert math.isfinite(trained.last_loss)
    assert trained.last_loss < trained.first_loss
    model = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "model", dtype="auto")
    assert model.dtype == torch.bfloat16
    checkpoint = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "checkpoint-2", dtype="auto")
    assert checkpoint.dtype == torch.float32


def test_the_trajectory_is_the_same_each_time(sft: Path):
    """Fixed seeds: a change of this list is a change of what is trained."""
    assert losses(sft) == pytest.approx(TRAJECTORY, abs=2e-2)


TRAJECTORY = [5.792, 5.365, 5.057, 4.818]
