"""The one seam of the system: a request in, a reply out.

Stages know `Model` and nothing behind it. `Endpoint` speaks HTTP, `launch` puts a child process in front of it,
`recorded` answers from the ledger first. All of them are models.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import msgspec

from lpt.records import digest
from lpt.settings import SampledSettings


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image that is ready to be sent: encoded once for all requests that show it."""

    key: str
    """Hash of the source file and of how it was prepared: what stands for the image in the ledger's key."""
    data: bytes
    """The encoded file."""
    media_type: str = "image/jpeg"
    width: int = 0
    height: int = 0


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation. Images come before the text."""

    role: str
    text: str
    images: tuple[Image, ...] = ()


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to sample. None leaves a parameter to the server's own default."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    bad_words: tuple[str, ...] = ()
    extra: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Fields that are sent as they are: what a server offers beyond the protocol."""

    @staticmethod
    def of(settings: SampledSettings, *, bad_words: tuple[str, ...] = (), stop: tuple[str, ...] = ()) -> "Sampling":
        """The sampling of a stage: where its settings say 0, the server decides."""
        return Sampling(
            temperature=settings.temperature,
            top_p=settings.top_p or None,
            top_k=settings.top_k or None,
            repetition_penalty=settings.repetition_penalty or None,
            max_tokens=settings.max_tokens,
            stop=stop,
            bad_words=bad_words,
            extra=settings.extra,
        )


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What one record asks of a model: `n` samples, of consecutive seeds."""

    stage: str
    """Which stage asks: for counting, not part of the key."""
    record: str
    """The id of the record that asks, for lineage; not part of the key."""
    messages: tuple[Message, ...]
    prefill: str | None = None
    """An assistant turn that is to be continued. Never ends in white space."""
    sampling: Sampling = Sampling()
    schema: Mapping[str, Any] | None = None
    """A JSON schema for the reply, where the server can hold to one."""
    seed: int
    """The seed of the first sample; sample i has seed + i."""
    n: int = 1
    rank: int = 0
    """The image's place in the run: at a model's queue the smallest goes first."""
    affinity: str = ""
    """Requests of the same affinity (the image) go to the same replica."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One sample of a reply."""

    text: str
    """What was said; after a prefill, the continuation alone."""
    reasoning: str | None = None
    """What the server reported apart from the text, as its `reasoning_content`."""
    finish_reason: str = "stop"
    key: str = ""
    """The ledger's key; empty when no ledger stood in between."""
    instructed: bool = False
    """True when the prefill was asked for in words, because the server cannot continue a turn."""

    def joined(self) -> str:
        """The reply as one text, as if the server had not told the thought from the rest."""
        if not self.reasoning:
            return self.text
        if self.finish_reason == "length" and not self.text:
            return self.reasoning  # cut within the thought
        return f"{self.reasoning.removesuffix('</think>').rstrip()}\n</think>\n{self.text.lstrip()}"


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one call, as the server counts them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What came back from one call: as many choices as were asked for, in the order of their seeds."""

    choices: tuple[Choice, ...]
    usage: Usage = Usage()
    attempts: int = 1
    started: float = 0.0
    """Seconds since the epoch."""
    seconds: float = 0.0
    indexes: tuple[int, ...] = ()
    """Which samples the choices are, where some are missing; empty when all are there, in order."""
    lost: str = ""
    """The kind of the failure for which samples are missing."""

    def samples(self) -> Iterator[tuple[int, Choice]]:
        """The choices with the indexes of their samples."""
        return zip(self.indexes or range(len(self.choices)), self.choices, strict=True)

    def missing(self, n: int) -> list[int]:
        """The indexes of the samples, of `n`, that a failed call leaves out."""
        return sorted(set(range(n)).difference(self.indexes)) if self.lost else []


class Model(Protocol):
    """Anything that answers requests.

    Raises:
        ModelError: one of its kinds, when there is no answer (see `lpt.errors`).
    """

    async def ask(self, request: Request) -> Reply:
        """Answer one request with as many choices as it asks for."""
        ...


def seed_of(seed: int, parent: str, stage: str) -> int:
    """The seed of sample 0: a function of the recipe's seed, the parent record and the stage. 31 bits."""
    return int(digest("seed", seed, parent, stage)[:8], 16) & 0x7FFF_FFFF
