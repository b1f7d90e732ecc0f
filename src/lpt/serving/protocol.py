"""What a served model is asked and what it says: the seam between HTTP and whoever answers.

An app (`lpt.serving.app`) turns HTTP into `Ask`s and `Said`s back into HTTP; a `Responder` knows nothing of
sockets. The simulated roles are responders, and so is anything that loads a checkpoint.
"""

from typing import Any, Protocol

import msgspec


class Turn(msgspec.Struct, frozen=True):
    """One message of a conversation, its text parts joined and its images decoded from their data URLs."""

    role: str
    """system, user or assistant."""
    text: str
    images: tuple[bytes, ...] = ()
    """Encoded image files (PNG, JPEG, …) in the order of the message."""


class Ask(msgspec.Struct, frozen=True):
    """One request, already understood: the app has parsed, checked and unpacked it."""

    model: str
    turns: tuple[Turn, ...]
    """The conversation without the assistant turn that is to be continued."""
    prefill: str | None = None
    """The text of the assistant turn to continue; None when a new turn is to be started."""
    max_tokens: int = 1024
    temperature: float = 1.0
    stop: tuple[str, ...] = ()
    bad_words: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None
    """The JSON schema that the reply must conform to (`response_format`)."""


class Said(msgspec.Struct, frozen=True):
    """One choice: the continuation alone, never the prefill again."""

    text: str
    finish_reason: str = "stop"
    """stop or length."""
    reasoning: str | None = None
    """What the server puts into `reasoning_content`, apart from the text."""


class Responder(Protocol):
    """Answers one choice. The same ask and seed give the same words, in any order and in any process."""

    def __call__(self, ask: Ask, seed: int) -> Said:
        """Say one choice; `UserError` when the ask cannot be answered (the client gets it with status 400)."""
        ...
