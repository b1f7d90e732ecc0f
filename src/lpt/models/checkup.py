"""What the doctor found out about a model."""

from typing import Literal, TypeAlias

import msgspec

Can: TypeAlias = Literal["yes", "no", "unsure"]
Capability: TypeAlias = Literal[
    "reachable",
    "name known",
    "images",
    "n",
    "samples differ",
    "prefill",
    "bad words",
    "structured",
    "seeds",
    "usage",
    "cached tokens",
    "context",
]
CAPABILITIES: tuple[Capability, ...] = Capability.__args__  # type: ignore[attr-defined]


class Finding(msgspec.Struct, frozen=True):
    """Whether a model can do something, and what that was seen from."""

    can: Can
    why: str = ""


class Checkup(msgspec.Struct, kw_only=True):
    """What was found out about one model."""

    name: str
    """What the recipe calls it."""
    model: str
    """What the server calls it."""
    findings: dict[Capability, Finding] = {}
    dialect: str | None = None
    """The way of continuing a turn that a run would use; None where none could be found out."""
    continues: dict[str, Finding] = {}
    """Of each way that was tried, whether it truly continues a turn."""
    opens: Can = "unsure"
    """Whether its chat template opens the thought (`<think>`) by itself where a reply begins."""
    context: int | None = None
    """Tokens of prompt and reply together, where the server says."""

    def can(self, what: Capability) -> Can:
        """Whether it can do something; unsure where that was not looked at."""
        return self.findings.get(what, Finding("unsure")).can

    def why(self, what: Capability) -> str:
        """What that was seen from."""
        return self.findings.get(what, Finding("unsure")).why
