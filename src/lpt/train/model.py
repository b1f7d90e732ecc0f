"""The model: loaded, and told which of its parts move."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel

from lpt.errors import UserError
from lpt.train.settings import LoraSettings, TrainRecipe
from lpt.vision import quicken

_VISION = re.compile(r"(^|\.)(visual|vision_tower|vision_model|multi_modal_projector)\.")


def load(folder: Path, recipe: TrainRecipe, *, reference: bool = False) -> PreTrainedModel:
    """Load a model to be trained, or the same one to compare it with.

    An adapter's folder is loaded as the model that it stands on, with the adapter merged into it: so DPO of an
    adapter starts from, and is held to, the SFT policy and not the model before SFT. Where DPO goes on with that
    very adapter (`dpo.reference = "adapter"`) it stays one, and TRL puts a frozen copy beside it.

    Raises:
        UserError: it cannot be loaded, or has no vision tower to freeze, or is no adapter that could go on.
    """
    settings = recipe.model
    goes_on = continues(folder, recipe)
    whole = torch.float32 if settings.dtype == "float32" else torch.bfloat16
    # The reference in the very type of what is trained: in another its log-probabilities would be others.
    kept = whole if settings.train == "lora" or settings.dtype == "float32" else getattr(torch, settings.weights)
    under, adapter = parts(folder)
    try:
        model = AutoModelForImageTextToText.from_pretrained(
            under, dtype=kept, attn_implementation=settings.attention
        )
        if goes_on:
            return PeftModel.from_pretrained(model, str(adapter), is_trainable=True)
        if adapter:
            model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise UserError(f"the model in {folder} cannot be loaded: {error}") from error
    if reference:
        return model.eval().requires_grad_(requires_grad=False)
    if settings.train != "everything":
        freeze(model, folder)
        if not torch.accelerator.is_available():
            quicken(model)
    return model


def freeze(model: PreTrainedModel, folder: Path) -> None:
    """Freeze vision tower and projector.

    Raises:
        UserError: it has none that is known.
    """
    frozen = list(vision(model))
    if not frozen:
        raise UserError(f'{folder} has no vision tower by a name that is known: --set model.train="everything"')
    for _, weights in frozen:
        weights.requires_grad_(requires_grad=False)


def vision(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """The parameters of the vision tower and of the projector behind it."""
    return ((name, weights) for name, weights in model.named_parameters() if _VISION.search(name))


def adapter(settings: LoraSettings) -> LoraConfig:
    """An adapter on linear layers of the language model, and on none of the vision tower's."""
    layers = "|".join(map(re.escape, settings.targets))
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=rf".*language_model.*\.(?:{layers})",
        task_type="CAUSAL_LM",
    )


def continues(folder: Path, recipe: TrainRecipe) -> bool:
    """Whether DPO goes on with an adapter.

    Raises:
        UserError: it is to, and there is none.
    """
    if recipe.stage != "dpo" or recipe.dpo.reference != "adapter":
        return False
    if recipe.model.train != "lora":
        raise UserError('dpo.reference = "adapter" is for adapters: --set model.train=lora, or another reference')
    if parts(folder)[1] is None:
        raise UserError(
            f'dpo.reference = "adapter" goes on with an adapter, and {folder} is none: --model OUT/adapter of an '
            "SFT, or --set dpo.reference=precomputed for a new adapter on this model"
        )
    return True


def count(folder: Path, recipe: TrainRecipe) -> tuple[int, int]:
    """Parameters of a model, and how many of them are trained, from its configuration alone."""
    config = AutoConfig.from_pretrained(base(folder))
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    every = sum(weights.numel() for weights in model.parameters())
    if recipe.model.train == "everything":
        return every, every
    if recipe.model.train == "decoder":
        return every, every - sum(weights.numel() for _, weights in vision(model))
    shape = LoraConfig.from_pretrained(str(folder)) if continues(folder, recipe) else adapter(recipe.lora)
    return every, sum(
        shape.r * (module.in_features + module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and _targets(shape.target_modules, name)
    )


def _targets(chosen: str | set[str], name: str) -> bool:
    """Whether a layer gets an adapter: by a pattern, or by the end of its name."""
    if isinstance(chosen, str):
        return re.fullmatch(chosen, name) is not None
    return any(name == end or name.endswith(f".{end}") for end in chosen)


def parts(folder: Path) -> tuple[str, Path | None]:
    """The folder or id of the weights, and the adapter on them."""
    if (folder / "adapter_config.json").exists() and not (folder / "config.json").exists():
        config: Any = LoraConfig.from_pretrained(str(folder))
        return str(config.base_model_name_or_path), folder
    return str(folder), None


def base(folder: Path) -> str:
    """The folder or id of a model's own configuration: for an adapter, that of the model that it stands on."""
    return parts(folder)[0]
