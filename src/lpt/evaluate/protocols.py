"""How a benchmark is asked, by name: prompt, pixels, sampling, new tokens. A score without these says nothing."""

from typing import Literal

import msgspec

from lpt.errors import UserError
from lpt.evaluate.benchmark import Benchmark
from lpt.evaluate.items import Item
from lpt.records import AnswerFormat, digest
from lpt.settings import CaptionSettings, ThinkSettings
from lpt.synthesis import prompts
from lpt.synthesis.present import prompt

THINK = (
    "Think before you answer. Put your thinking between <think> and </think>, then put your answer, and only that, "
    "between <answer> and </answer>."
)
DIRECT = "Do not explain. Put your answer, and only that, between <answer> and </answer>."
_OPEN = "Give your answer as a single word, number or short phrase."
_LISTED = "Give your answer as the letter of the option you choose, in brackets: (A)."


TRAINED = "trained"


class Protocol(msgspec.Struct, frozen=True, kw_only=True):
    """One way of asking."""

    name: str
    longest_side: int = 0
    """Pixels that a picture's longer side is downsized to; 0: as it is."""
    max_pixels: int = 0
    """The same for a picture's area."""
    quality: int = 95
    """JPEG quality of what is sent."""
    max_tokens: int = 1024
    long_max_tokens: int = 0
    """The same for benchmarks whose reasoning is long (MMLU-Pro); 0: no other limit."""
    temperature: float = 0.0
    think: bool = True
    samples: int = 1
    seed: int = 0
    system: str = ""
    """The system message; none where it is empty."""
    form: AnswerFormat | None = None
    """The answer format of the recipe that the model was trained by, whose words are then all; None: ours."""
    about: str = ""

    @property
    def prompt_fingerprint(self) -> str:
        """A hash of the words around a question, the system message's among them."""
        if self.form:
            return digest(self.system, self.form, _OPEN, _LISTED, prompt("stem", ["a", "b"], self.form))[:16]
        return digest(THINK if self.think else DIRECT, _OPEN, _LISTED, prompt("stem", ["a", "b"], "(X)"))[:16]

    def tokens(self, benchmark: Benchmark) -> int:
        """New tokens for an item of this benchmark."""
        return self.long_max_tokens or self.max_tokens if benchmark.long else self.max_tokens

    def text(self, item: Item) -> str:
        """What is said beside the item's pictures."""
        if not item.options:
            shown = f"{item.question}\n{_OPEN}"
        elif item.note.get("options") == "in the question":
            shown = f"{item.question}\n{_LISTED}"
        else:
            shown = prompt(item.question, item.options, self.form or "(X)")
        if self.form:
            return shown
        return f"{shown}\n{THINK if self.think else DIRECT}"

    def settings(self) -> dict[str, object]:
        """What `eval.json` says about it."""
        limits = [f"longer side {self.longest_side}"] if self.longest_side else []
        limits += [f"area {self.max_pixels}"] if self.max_pixels else []
        trained = {"system": self.system, "format": self.form, "quality": self.quality} if self.form else {}
        return {
            "name": self.name,
            "prompt": self.prompt_fingerprint,
            **trained,
            "pixels": ", ".join(limits) or "as they are",
            "max_tokens": self.max_tokens,
            "long_max_tokens": self.long_max_tokens or self.max_tokens,
            "temperature": self.temperature,
            "samples": self.samples,
            "seed": self.seed,
        }


PROTOCOLS = {
    each.name: each
    for each in (
        Protocol(
            name="paper",
            longest_side=512,
            long_max_tokens=2048,
            about="greedy, longer side 512 px, 1,024 new tokens (2,048 for MMLU-Pro), thinks first",
        ),
        Protocol(
            name="native", max_tokens=8192, about="greedy, the picture's own pixels, 8,192 new tokens, thinks first"
        ),
        Protocol(
            name="direct",
            longest_side=512,
            long_max_tokens=2048,
            think=False,
            about="as paper, but answers without a thought: the table's base row",
        ),
        Protocol(
            name=TRAINED,
            about="greedy, 1,024 new tokens; the words, the system message and the pictures of --recipe's [think]",
        ),
    )
}
"""The protocols by name."""


def protocol(
    name: Literal["paper", "native", "direct", "trained"] | str,
    *,
    samples: int = 1,
    temperature: float | None = None,
    max_tokens: int | None = None,
    longest_side: int | None = None,
    seed: int = 0,
    think: ThinkSettings | None = None,
    captions: CaptionSettings | None = None,
) -> Protocol:
    """A protocol by its name, with what is asked for in place of its own.

    Args:
        name: which one.
        samples: replies for an item.
        temperature: of the sampling.
        max_tokens: new tokens of a reply.
        longest_side: pixels of a picture's longer side.
        seed: of the samples.
        think: of the recipe that the model was trained by; `trained` asks in its words, and nothing else reads it.
        captions: the same recipe's, which say how large pictures are sent.

    Raises:
        UserError: there is none of that name, several samples of a greedy answer are asked for, or what the model
            was trained by is not known.
    """
    if name not in PROTOCOLS:
        raise UserError(f"there is no protocol {name!r}: it can be {', '.join(PROTOCOLS)}")
    found = PROTOCOLS[name]
    if name == TRAINED:
        found = _as_trained(found, think, captions or CaptionSettings())
    if temperature is None:
        temperature = found.temperature
    if samples > 1 and temperature == 0:
        raise UserError(f"{samples} samples at temperature 0 are one: give --temperature, such as 0.7")
    changed: dict[str, object] = {"samples": samples, "temperature": temperature, "seed": seed}
    if max_tokens is not None:
        changed |= {"max_tokens": max_tokens, "long_max_tokens": max_tokens}
    if longest_side is not None:
        changed["longest_side"] = longest_side
    other = found.samples != samples or found.temperature != temperature or max_tokens or longest_side is not None
    return msgspec.structs.replace(found, **changed, name=f"{name}*" if other else name)


def _as_trained(found: Protocol, think: ThinkSettings | None, captions: CaptionSettings) -> Protocol:
    if think is None:
        raise UserError(
            f"the protocol {TRAINED} asks in the words that a model was trained with, which a recipe's [think] "
            "says: give `lpt eval run` that recipe, --recipe RECIPE.toml"
        )
    return msgspec.structs.replace(
        found,
        system=prompts.load("think", think.prompt),
        form=think.formats[0],
        longest_side=captions.longest_side,
        max_pixels=captions.max_pixels,
        quality=captions.quality,
    )
