"""Every setting of a training recipe, with its default and meaning."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from lpt.errors import RecipeError, UserError
from lpt.sections import parse, read_text, toml
from lpt.settings import Count, Positive, Section, Share

Stage: TypeAlias = Literal["sft", "dpo"]
Above: TypeAlias = Annotated[float, Meta(gt=0)]
AtLeast: TypeAlias = Annotated[float, Meta(ge=0)]


class ModelSettings(Section, frozen=True, kw_only=True):
    """What is trained, and how much of it."""

    name: str | None = None
    """A folder, or a model's id on the hub; `--model` says another."""
    revision: str | None = None
    """A branch, tag or commit on the hub: a commit makes sure that it stays the same."""
    train: Literal["decoder", "lora", "everything"] = "decoder"
    """decoder: the language model, with vision tower and projector frozen (paper). lora: an adapter on the language
    model. everything: no part is frozen."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """The type of the arithmetic, and of the weights that are written at the end."""
    weights: Literal["float32", "bfloat16"] = "float32"
    """The type in which trained weights are kept while they move. bfloat16 takes half of the memory, and loses most
    steps at learning rates like these. An adapter's weights are float32 always, what it stands on is `dtype`."""
    attention: str = "sdpa"
    """sdpa | eager | flash_attention_2, or another that transformers knows."""


class LoraSettings(Section, frozen=True, kw_only=True):
    """The adapter, where model.train = "lora"."""

    rank: Positive = 32
    """Rank of the two matrices."""
    alpha: Positive = 64
    """Scale: an adapter counts alpha / rank."""
    dropout: Share = 0.0
    """Dropout before the adapter."""
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """Linear layers of the language model that get one."""
    merge: bool = True
    """Write, beside the adapter (OUT/adapter), the model with the adapter merged into it (OUT/model). Not where it
    was trained in shards (FSDP, ZeRO-3): then the adapter alone is written."""


class DataSettings(Section, frozen=True, kw_only=True):
    """What is learnt from."""

    set: Literal["long", "simple", "direct", "captions"] = "long"
    """sft: which set. captions: the images' captions, the control that the paper compares with."""
    cutoff: Positive = 2048
    """Tokens that an example may have, image included (paper: 1024; its code: 2048)."""
    longer: Literal["refuse", "drop"] = "refuse"
    """What to do where an example is longer: stop before the first step, or leave it out and count it. Nothing is
    ever cut, since a cut example teaches to end without an answer."""
    max_pixels: Positive = 512 * 512
    """Area of an image in pixels; larger ones are scaled down (paper)."""
    answers: bool = True
    """Whether an example must hold exactly one <answer> in what is learnt; others are left out and counted."""
    after_end: bool = True
    """Whether the white space that a template puts behind the end of a turn is learnt, too, as in LLaMA-Factory."""
    cache: bool = True
    """Keep pixels and tokens on disk (OUT/cache): about 6 MB for an image of 512 by 512, 2 kB for an example."""


class OptimizerSettings(Section, frozen=True, kw_only=True):
    """How weights move."""

    learning_rate: Above = 1e-5
    """Peak (paper, SFT: swept over 1e-5, 8e-6, 6e-6; DPO: 1e-6, 5e-7, 1e-7)."""
    epochs: Above = 5.0
    """Passes over the set (paper: at most 5 for SFT, 3 for DPO)."""
    tokens: Count = 0
    """Learn from about this many tokens of examples (prompts, images and prefixes included), in as many passes, or
    as small a part of one, as that takes, whatever `epochs` says: so sets are compared at equal tokens. 0: `epochs`
    decides."""
    max_steps: Count = 0
    """Stop after this many steps, whatever `epochs` says; 0: no limit."""
    batch: Positive = 256
    """Examples, or pairs, a step, over all devices (paper). Accumulation is worked out from it."""
    at_once: Positive = 1
    """Examples, or pairs, that one device has in memory at once."""
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    """How the learning rate falls."""
    warmup_steps: Count = 5
    """Steps over which it rises (paper)."""
    weight_decay: AtLeast = 0.0
    """AdamW's."""
    clip: AtLeast = 1.0
    """The gradient's largest norm; 0: not clipped."""
    name: str = "adamw_torch"
    """An optimizer that transformers knows, such as adamw_8bit (with bitsandbytes installed)."""


class MemorySettings(Section, frozen=True, kw_only=True):
    """What is traded for memory or speed. None of it changes what is learnt."""

    checkpointing: bool = True
    """Compute activations again in the backward pass instead of keeping them."""
    by_length: bool = True
    """Batches of like lengths, so that less is padding."""
    packed: bool = False
    """SFT: the examples that are in memory at once (optimizer.at_once) lie one behind the other in one row, without
    padding, each with positions of its own and blind to the others. Wants a Qwen-VL; best with
    model.attention = "flash_attention_2", right with sdpa. Not for DPO, which pairs rows."""
    liger: bool = False
    """Liger's fused kernels (with liger-kernel installed). Not tested by us yet: they need a GPU."""
    workers: Count = 2
    """Processes that load pixels."""


class DpoSettings(Section, frozen=True, kw_only=True):
    """The loss of DPO: sigmoid, and an SFT term on the chosen side."""

    beta: Above = 1.0
    """How much the policy is held to its reference (paper 1; released configuration 0.2)."""
    sft_weight: AtLeast = 0.5
    """Weight of the SFT term: the mean over pairs of the mean over the chosen side's tokens (paper 0.5; released
    1.0)."""
    shared: Literal["compared", "left-out"] = "compared"
    """The wrong thought that both sides of an X→O pair begin with: whether it enters the log-ratios, where it
    cancels, or not. It is never in the SFT term."""
    reference: Literal["precomputed", "copy", "adapter"] = "precomputed"
    """What the policy is held to is always what training starts from. precomputed: its log-probabilities, worked
    out once before the first step, which takes no memory. copy: a frozen copy beside it. adapter: `--model` is an
    SFT's adapter (OUT/adapter), which goes on being trained and is held to a frozen copy of itself, so that one
    adapter on the base model comes out. A new adapter's reference is the model without it, whatever this says."""


class ValidateSettings(Section, frozen=True, kw_only=True):
    """Validation on the images held out."""

    every: Positive | None = None
    """Steps between two; by default once an epoch."""
    questions: Count = 200
    """How many of the held-out images' questions are answered by generating, and graded; 0: none, and the loss on
    the validation set decides which checkpoint is best."""
    new_tokens: Positive = 512
    """Tokens that an answer may have."""
    patience: Count = 2
    """Stop after this many validations in a row without a better one; 0: never."""


class KeepSettings(Section, frozen=True, kw_only=True):
    """What is written."""

    checkpoints: Positive = 2
    """How many are kept, the best one among them."""
    report: tuple[str, ...] = ("tensorboard",)
    """Where transformers reports metrics: tensorboard, wandb, mlflow, …; () for nowhere."""
    every: Positive = 1
    """Steps between two reports."""


class TrainRecipe(Section, frozen=True, kw_only=True):
    """A whole training."""

    stage: Stage
    """sft or dpo."""
    seed: int = 0
    """Order of the data, and an adapter's first weights."""
    model: ModelSettings = ModelSettings()
    lora: LoraSettings = LoraSettings()
    data: DataSettings = DataSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    memory: MemorySettings = MemorySettings()
    dpo: DpoSettings = DpoSettings()
    validate: ValidateSettings = ValidateSettings()
    keep: KeepSettings = KeepSettings()

    def toml(self) -> str:
        """The recipe with every setting spelt out."""
        return toml(self)


def find(spec: str) -> Path:
    """A training recipe by its name or path.

    Raises:
        RecipeError: there is none.
    """
    given = Path(spec)
    if given.suffix == ".toml" or given.exists():
        return given
    for folder in _FOLDERS:
        if (folder / f"{spec}.toml").is_file():
            return folder / f"{spec}.toml"
    raise RecipeError(f'there is no training recipe "{spec}": give a file (.toml), or one of {", ".join(names())}')


def names() -> list[str]:
    """The recipes that come with the package."""
    return sorted({path.stem for folder in _FOLDERS for path in folder.glob("*.toml")})


def load(spec: str, stage: Stage, overrides: tuple[str, ...] = ()) -> TrainRecipe:
    """Read a training recipe by name or path, for a stage.

    Raises:
        RecipeError: there is none, it is wrong, or it is one of the other stage.
    """
    path = find(spec)
    recipe = parse(read_text(path), TrainRecipe, name=str(path), overrides=overrides)
    if recipe.stage != stage:
        raise RecipeError(f"{path} is a recipe for {recipe.stage}: `lpt train {recipe.stage}`, or another --recipe")
    return recipe


def accumulation(recipe: TrainRecipe, devices: int) -> int:
    """Batches that each device adds up before a step.

    Raises:
        UserError: the batch of the recipe cannot be made of equal parts.
    """
    at_once = recipe.optimizer.at_once * devices
    steps, left = divmod(recipe.optimizer.batch, at_once)
    if left or not steps:
        raise UserError(
            f"optimizer.batch = {recipe.optimizer.batch} is no multiple of optimizer.at_once * devices = "
            f"{recipe.optimizer.at_once} * {devices}: change one of them, such as "
            f"--set optimizer.batch={max(1, round(recipe.optimizer.batch / at_once)) * at_once}"
        )
    return steps


# In an installed package the recipes lie within it; in a checkout, at its root.
_FOLDERS = (Path(__file__).parent / "recipes", Path(__file__).parents[3] / "recipes" / "train")
