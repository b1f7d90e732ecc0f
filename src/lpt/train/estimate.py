"""What a training will need, before it is begun: bytes on a device and on the disk."""

from pathlib import Path

import msgspec
from transformers import AutoConfig

from lpt.train import model
from lpt.train.settings import TrainRecipe

_BYTES = {"float32": 4, "bfloat16": 2}


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters, and bytes.

    What is per device is so without sharding; ZeRO-3 and FSDP divide all but activations by the number of devices.
    """

    parameters: int
    trained: int
    weights: int
    gradients: int
    optimizer: int
    """AdamW's two moments, in the type of the weights that move."""
    reference: int
    activations: int
    """Rough: what is kept for the backward pass, and the layer that is being computed again."""
    checkpoint: int
    """Bytes on the disk of one checkpoint."""
    final: int
    """Bytes on the disk of the model at the end."""

    @property
    def device(self) -> int:
        """All that a device holds."""
        return self.weights + self.gradients + self.optimizer + self.reference + self.activations


def estimate(folder: Path, recipe: TrainRecipe, longest: int) -> Estimate:
    """What a training needs, from the model's configuration and the longest example's tokens."""
    every, trained = model.count(folder, recipe)
    settings = recipe.model
    lora = settings.train == "lora"
    plain = _BYTES[settings.dtype]
    moving = 4 if lora else plain if settings.dtype == "float32" else _BYTES[settings.weights]
    still = plain if lora else moving
    weights = trained * moving + (every if lora else every - trained) * still
    sides = 2 if recipe.stage == "dpo" else 1
    copy = recipe.stage == "dpo" and recipe.dpo.reference == "copy" and not lora
    text = AutoConfig.from_pretrained(model.base(folder)).get_text_config()
    tokens = recipe.optimizer.at_once * sides * longest
    # A layer's inputs, and in its attention and feed-forward about 8 times the hidden and 3 times the inner size.
    layer = tokens * (8 * text.hidden_size + 3 * text.intermediate_size) * plain
    if recipe.memory.checkpointing:
        activations = tokens * text.hidden_size * text.num_hidden_layers * plain + layer
    else:
        activations = layer * text.num_hidden_layers
    return Estimate(
        parameters=every,
        trained=trained,
        weights=weights,
        gradients=trained * moving,
        optimizer=trained * 2 * moving,
        reference=every * moving if copy else 0,
        activations=activations,
        checkpoint=(trained * moving if lora else weights) + trained * 2 * moving,
        final=trained * moving + (every * plain if recipe.lora.merge else 0) if lora else every * plain,
    )
