"""One training, from the first check to the model card."""

import math
import os
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import datasets
import msgspec
import torch
import transformers
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback
from trl import DPOConfig, SFTConfig

from lpt.errors import StoreError, UserError
from lpt.exports.rows import put
from lpt.records import digest
from lpt.train import card, folders, model
from lpt.train.collate import Collate, dataset
from lpt.train.estimate import estimate
from lpt.train.examples import Encoded
from lpt.train.prepare import Prepared
from lpt.train.settings import accumulation
from lpt.train.trainers import Dpo, Sft, disk_failed
from lpt.train.validate import Accuracy

Tell: TypeAlias = Callable[[int, int, dict[str, float]], None]


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """What a training came to."""

    steps: int
    seconds: float
    first_loss: float
    last_loss: float
    best: dict[str, float]
    """The validation of the checkpoint that was kept, by metric; empty where there was none."""
    memory: int
    """Bytes of the device at the peak; 0 where there is no GPU."""
    model: str
    """The folder of what was trained, an adapter's if it was not merged; empty after a dry run."""


def train(
    prepared: Prepared, out: Path, *, resume: bool = False, dry_run: bool = False, tell: Tell | None = None
) -> Trained:
    """Train.

    Args:
        prepared: what `lpt.train.prepare` made of data and recipe.
        out: the folder for checkpoints and the model.
        resume: go on from the last whole checkpoint, which gives what a training without a break would have given.
        dry_run: make one step on the longest examples, keep nothing.
        tell: is told the step, of how many, and the metrics, at each report and validation.

    Raises:
        UserError: settings that do not go together, a folder that holds another training, too little memory.
        StoreError: the disk failed, or would.
    """
    recipe = prepared.recipe
    state = processes()
    needs = estimate(prepared.model, recipe, prepared.train.lengths[-1])
    start: Path | None = None
    if not dry_run:
        if resume:
            start = folders.going_on(out, recipe, prepared.fingerprint)
        elif state.is_main_process:
            folders.fresh(out)
        folders.room(out, needs.checkpoint * (recipe.keep.checkpoints if start is None else 1) + needs.final)
        if state.is_main_process:
            put(out / "recipe.toml", recipe.toml().encode())
    state.wait_for_everyone()
    _hush()
    trainer = build(prepared, out, dry_run=dry_run)
    if tell:
        trainer.add_callback(_Teller(tell))
    # The order of the data is drawn when training begins: it depends on nothing that was drawn before.
    transformers.set_seed(recipe.seed)
    began = time.monotonic()
    try:
        trainer.train(resume_from_checkpoint=str(start) if start else None)
    except torch.cuda.OutOfMemoryError as error:
        raise UserError(
            f"the GPU's memory is too small for this ({str(error).splitlines()[0]}). What takes less: "
            "optimizer.at_once=1, memory.checkpointing=true, model.train=lora, or more GPUs and ZeRO-3 or FSDP"
        ) from error
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    trained = Trained(
        steps=trainer.state.global_step,
        seconds=time.monotonic() - began,
        first_loss=losses[0] if losses else math.nan,
        last_loss=losses[-1] if losses else math.nan,
        best=_best(trainer.state.log_history, trainer.state.best_global_step),
        memory=torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
        model="" if dry_run else str(out / "model"),
    )
    if not dry_run:
        try:
            _write(trainer, prepared, out)
            if state.is_main_process:
                text = card.card(prepared, trained, trainer.state.log_history)
                put(out / "README.md", text.encode())
                if (out / "model").is_dir():
                    put(out / "model" / "README.md", text.encode())
                else:  # an adapter that is not merged
                    trained = msgspec.structs.replace(trained, model=str(out / "adapter"))
        except Exception as error:
            if not disk_failed(error):
                raise
            raise StoreError(
                f"the model could not be written to {out} ({str(error).splitlines()[0]}): make room; the same "
                "command with --resume writes it again from the last checkpoint"
            ) from error
    return trained


def build(prepared: Prepared, out: Path, *, dry_run: bool = False) -> Sft | Dpo:
    """The trainer, ready to train.

    Raises:
        UserError: the model cannot be loaded, or settings do not go together.
    """
    recipe, encoder = prepared.recipe, prepared.encoder
    rows: Sequence[Encoded] = _longest(prepared) if dry_run else prepared.train.rows
    arguments = _arguments(prepared, out, dry_run=dry_run)
    collate = Collate(encoder.pictures, pad=encoder.tokenizer.pad_token_id or 0, image_token=encoder.image_token)
    # One folder for all: in a dry run each process has its own.
    (keep,) = broadcast_object_list([out / "cache"])
    keep.mkdir(parents=True, exist_ok=True)
    named = partial(dataset, keep=keep, key=digest(encoder.pictures.key, str(recipe.model)))
    words: dict[str, Any] = {
        "model": model.load(prepared.model, recipe),
        "train_dataset": named(rows),
        "eval_dataset": None if dry_run or not prepared.validation.rows else named(prepared.validation.rows),
        "processing_class": encoder.tokenizer,
        "peft_config": None
        if recipe.model.train != "lora" or model.continues(prepared.model, recipe)
        else model.adapter(recipe.lora),
        "callbacks": [_Keeper(prepared)],
    }
    patience = recipe.validate.patience
    if patience and words["eval_dataset"] is not None:
        words["callbacks"].append(EarlyStoppingCallback(early_stopping_patience=patience))
    trainer: Sft | Dpo
    if recipe.stage == "sft":
        settings = SFTConfig(**arguments, dataset_kwargs={"skip_prepare_dataset": True}, completion_only_loss=False)
        if recipe.memory.packed and not hasattr(_inner(words["model"]), "get_rope_index"):
            raise UserError(
                f"memory.packed wants a Qwen-VL, and {prepared.model} is none: --set memory.packed=false"
            )
        trainer = Sft(**words, args=settings, data_collator=collate.packed if recipe.memory.packed else collate.sft)
    else:
        if recipe.memory.packed:
            raise UserError(
                "memory.packed is for SFT: DPO compares the two sides of a pair row by row. "
                "--set memory.packed=false; memory.by_length keeps padding small"
            )
        precomputed = recipe.dpo.reference == "precomputed" and recipe.model.train != "lora"
        settings = DPOConfig(
            **arguments,
            beta=recipe.dpo.beta,
            loss_type=["sigmoid"],
            precompute_ref_log_probs=precomputed,
        )
        # Before a model is sharded it cannot be asked: FSDP's reference is a second one, let go of when it was.
        sharded = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
        copied = (not precomputed or sharded) and recipe.model.train != "lora"
        trainer = Dpo(
            **words,
            args=settings,
            data_collator=collate.dpo,
            ref_model=model.load(prepared.model, recipe, reference=True) if copied else None,
        )
        trainer.sft_weight = recipe.dpo.sft_weight
        if precomputed:
            trainer.ref_model = None
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which is for data
    if prepared.sets.asked and words["eval_dataset"] is not None:
        trainer.judge = Accuracy(prepared.sets.asked, encoder, collate, new_tokens=recipe.validate.new_tokens)
    return trainer


def _arguments(prepared: Prepared, out: Path, *, dry_run: bool) -> dict[str, Any]:
    recipe = prepared.recipe
    optimizer, memory = recipe.optimizer, recipe.memory
    validates = bool(prepared.validation.rows) and not dry_run
    when = "no" if dry_run else "steps" if recipe.validate.every else "epoch"
    gpu = torch.accelerator.is_available()
    return {
        "output_dir": str(out),
        "seed": recipe.seed,
        "per_device_train_batch_size": optimizer.at_once,
        "per_device_eval_batch_size": optimizer.at_once,
        "gradient_accumulation_steps": 1 if dry_run else accumulation(recipe, devices()),
        "learning_rate": optimizer.learning_rate,
        "num_train_epochs": epochs(prepared),
        "max_steps": 1 if dry_run else optimizer.max_steps or -1,
        "lr_scheduler_type": optimizer.schedule,
        "warmup_steps": optimizer.warmup_steps,
        "weight_decay": optimizer.weight_decay,
        "max_grad_norm": optimizer.clip,
        "optim": optimizer.name,
        "bf16": recipe.model.dtype == "bfloat16",
        "use_cpu": not gpu,
        "gradient_checkpointing": memory.checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if memory.checkpointing else None,
        "train_sampling_strategy": "group_by_length" if memory.by_length else "random",
        "length_column_name": "length",
        "use_liger_kernel": memory.liger,
        "dataloader_num_workers": memory.workers,
        "dataloader_pin_memory": gpu,
        "remove_unused_columns": False,
        "max_length": None,
        "eval_strategy": when if validates else "no",
        "eval_steps": recipe.validate.every,
        "save_strategy": when,
        "save_steps": recipe.validate.every or 500,
        "save_total_limit": recipe.keep.checkpoints,
        "load_best_model_at_end": validates,
        "metric_for_best_model": _metric(prepared),
        "greater_is_better": _metric(prepared) == "eval_accuracy",
        "logging_steps": recipe.keep.every,
        "logging_first_step": True,
        "report_to": [] if dry_run else list(recipe.keep.report),
        "disable_tqdm": True,
    }


def epochs(prepared: Prepared) -> float:
    """How often the set is gone through, where nothing stops it before."""
    optimizer = prepared.recipe.optimizer
    return optimizer.tokens / prepared.train.total() if optimizer.tokens else optimizer.epochs


def _metric(prepared: Prepared) -> str:
    return "eval_accuracy" if prepared.sets.asked else "eval_loss"


def processes() -> PartialState:
    """All processes of this training, as the launcher set them up."""
    # Without a GPU it must be told so, or it takes each process of a sharded training to be alone.
    return PartialState(cpu=not torch.accelerator.is_available())


def devices() -> int:
    """Processes that train together, a device each."""
    return int(processes().num_processes)


def _best(history: Sequence[dict[str, float]], step: int | None) -> dict[str, float]:
    found = (entry for entry in history if "eval_loss" in entry and entry.get("step") == step)
    return {name: value for name, value in next(found, {}).items() if name.startswith("eval_")}


def _write(trainer: Any, prepared: Prepared, out: Path) -> None:
    """Write the model as others load it: whole, in the type of the recipe."""
    recipe = prepared.recipe
    kept = getattr(torch, recipe.model.dtype)
    main = trainer.accelerator.is_main_process
    made = trainer.accelerator.unwrap_model(trainer.model)
    places = []
    if trainer.is_deepspeed_enabled:
        places.append(out / ("adapter" if recipe.model.train == "lora" else "model"))
        trainer.save_model(str(places[0]))
    elif trainer.is_fsdp_enabled:
        # All processes gather the shards, whatever kind of checkpoint FSDP was set to; the first one writes them.
        places.append(out / ("adapter" if recipe.model.train == "lora" else "model"))
        whole = trainer.accelerator.get_state_dict(trainer.model)
        if main:
            if recipe.model.train != "lora":
                whole = {name: weights.to(kept) for name, weights in whole.items()}
                made.config.dtype = kept
            made.save_pretrained(places[0], state_dict=whole)
    elif main and recipe.model.train == "lora":
        if "ref" in made.peft_config:
            made.delete_adapter("ref")  # what it was held to
        made.save_pretrained(out / "adapter")
        places.append(out / "adapter")
        if recipe.lora.merge:
            made.merge_and_unload().to(kept).save_pretrained(out / "model")
            places.append(out / "model")
    elif main:
        made.to(kept).save_pretrained(out / "model")
        places.append(out / "model")
    if main:
        for place in places:
            prepared.encoder.tokenizer.save_pretrained(place)
            folders.copy_beside(prepared.model, place)


def _inner(whole: Any) -> Any:
    """What is under a head that predicts tokens."""
    return getattr(whole, "model", whole)


def _hush() -> None:
    """Keep from the terminal what no user can act on: bars of libraries, and what they will rename one day."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl|accelerate|peft)\b")
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()


class _Teller(TrainerCallback):  # type: ignore[misc]
    """Tells how training goes."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if logs and ("loss" in logs or "eval_loss" in logs):
            self._tell(state.global_step, state.max_steps, logs)


class _Keeper(TrainerCallback):  # type: ignore[misc]
    """Puts beside each checkpoint what it is served with, and then the mark that says that it is whole."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        folders.copy_beside(self._prepared.model, checkpoint)
        folders.mark(checkpoint, self._prepared.recipe, self._prepared.fingerprint)


def tokens_in_a_step(prepared: Prepared) -> int:
    """Tokens in a dry run's one step, over all devices."""
    return sum(len(side) for row in _longest(prepared) for side in row.sides)


def _longest(prepared: Prepared) -> list[Encoded]:
    """The longest examples, as many as are in memory at once: where memory would end."""
    rows = sorted(prepared.train.rows, key=lambda row: -row.length)
    return rows[: prepared.recipe.optimizer.at_once * devices()]


__all__ = ["Trained", "build", "devices", "estimate", "processes", "tokens_in_a_step", "train"]
