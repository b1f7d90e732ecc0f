"""What can be set about the server itself: how fast, how wide, how faulty, how faithful to the protocol.

The roles behind it have dials of their own (`lpt.world.roles`). With every dial at rest the server answers at
once and always; each dial adds one way in which real servers make life hard.
"""

import difflib
from collections.abc import Iterable
from typing import Literal, get_args

import msgspec

from lpt.errors import UserError
from lpt.serving.room import parse_steps

FAULTS: dict[str, str] = {
    "429": "too many requests, with no word on when to come back",
    "429-after": "too many requests, with Retry-After",
    "500": "internal server error, as JSON",
    "502": "bad gateway, as a proxy's HTML",
    "503": "overloaded, as JSON",
    "reset": "the connection is reset before any reply",
    "silent": "the request is taken, and nothing ever comes back",
    "stall": "status and headers, then silence",
    "html": "a proxy's HTML page with status 200",
    "error-200": "an error object with status 200",
    "redirect": "307 to a place on the same server that answers nonsense",
    "cut": "the connection closes in the middle of the body",
    "slow": "the body a byte at a time",
    "cut-json": "a whole reply whose JSON stops in the middle",
    "wrong-type": "a number where the text belongs",
    "mislabelled": "a whole reply that calls itself plain text",
    "invalid-utf8": "bytes in the text that are not UTF-8",
    "huge": "a text of `huge_bytes` bytes",
    "fewer-choices": "one choice fewer than was asked for",
    "no-choices": "an empty list of choices",
    "null-content": "null where the text belongs",
    "content-filter": "an empty text, finish_reason content_filter",
    "length": "half the text, finish_reason length",
    "ignore-n": "one choice, whatever n says",
    "ignore-prefill": "a turn begun anew, where one was to be continued",
    "stranger": "somebody else's reply: another model, another text",
    "mixed-up": "the reply to another request of the same model, with that request's id",
}
"""Every fault that can be injected, and what the client sees."""

Prefill = Literal["continue", "trailing", "prefix", "all", "ignored"]
RetryAfter = Literal["none", "seconds", "date"]


class Dials(msgspec.Struct, frozen=True, kw_only=True):
    """The server's settings; zero always means "off", "at once" or "no limit".

    Raises:
        UserError: a value is out of range, or a fault is unknown.
    """

    latency: float = 0.0
    """Seconds to the first token, beside the time for the prompt."""
    prefill_tokens_per_second: float = 0.0
    """How fast a prompt is read; tokens found in the prefix cache take no time."""
    tokens_per_second: float = 0.0
    """How fast each choice is written."""
    concurrency: int = 0
    """Choices of one model that are written at once; the others wait in line, first come, first served."""
    concurrency_steps: str = ""
    """How `concurrency` changes as choices are written: `500:32,1500:64` is 32 after 500 choices, 64 after 1500."""
    max_waiting: int | None = None
    """Choices of one model that may wait in line; a request that finds as many is turned away with 429."""
    batch_slowdown: float = 0.0
    """How much each choice that is written beside it slows a choice down: 0.01 is half as fast beside a hundred."""
    threads: int = 0
    """Run responders in so many threads; 0 runs them on the event loop: best for short ones (under 5 ms)."""
    rate_limit: float = 0.0
    """Requests a second, in bursts of at most one second's worth; beyond it 429."""
    retry_after: RetryAfter = "seconds"
    """What a 429 says about when to come back: nothing, whole seconds, or an HTTP date."""
    retry_after_seconds: int = 1
    """The wait that the fault 429-after names."""
    faults: dict[str, float] = msgspec.field(default_factory=dict)
    """Fault → probability; at most one fault an attempt, so they sum to at most 1. See `FAULTS`."""
    fault_seed: int = 0
    """The draw is a function of this seed, the request's bytes, and how often these very bytes came before."""
    max_faults_per_request: int | None = None
    """After so many faults the same request is answered well: 1 means "the second attempt succeeds"."""
    huge_bytes: int = 64 << 20
    """The length of the text in a huge reply."""
    slow_seconds: float = 0.01
    """The wait between two bytes of a slow body."""
    prefill: Prefill = "all"
    """Which way of continuing an assistant turn is honoured: vLLM's continue_final_message, llama.cpp's and
    Ollama's trailing assistant message, DeepSeek's `prefix: true`, all of them, or none: then a new turn is
    started and nothing of the given one is repeated."""
    trims_prefill: bool = False
    """The template strips the turn that is to be continued: a trailing space is lost in silence."""
    prefix_cache: bool = True
    """Keep a prefix cache, and report `prompt_tokens_details.cached_tokens`."""
    block_size: int = 16
    """Tokens in a block of the prefix cache."""
    cache_blocks: int = 1 << 16
    """Blocks in the prefix cache of each model."""
    max_model_len: int = 0
    """Refuse prompts of this many tokens or more, and end replies there."""
    max_body_bytes: int = 256 << 20
    """Refuse larger requests (413)."""
    owned_by: str = "lpt-sim"
    """Who /v1/models says is serving."""
    echo_request_id: bool = False
    """Send back the X-Request-Id that a request came with."""
    down_after: int = 0
    """After so many requests it goes away, once: connections break off, and nobody listens any more."""
    down_seconds: float = 1.0
    """How long it stays away then."""
    certificate: str = ""
    """Serve HTTPS with this certificate: a PEM file that holds its key, too."""
    api_key: str = ""
    """Ask for this bearer token (401 without it)."""
    log_requests: str = ""
    """A file that gets one JSON line for each request (see `lpt.serving.stats.Line`)."""

    def __post_init__(self) -> None:
        for name in self.faults:
            if name not in FAULTS:
                near = difflib.get_close_matches(name, FAULTS, n=1)
                hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(FAULTS)
                raise UserError(f"unknown fault {name!r}: {hint}")
        if any(not 0 <= p <= 1 for p in self.faults.values()) or sum(self.faults.values()) > 1 + 1e-9:
            raise UserError("fault probabilities must be between 0 and 1, and sum to at most 1")
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, (int, float)) and not value >= 0 and name != "fault_seed":
                raise UserError(f"{name} must not be negative, not {value}")
        for name in ("block_size", "cache_blocks", "max_body_bytes"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1")
        for name, allowed in (("prefill", get_args(Prefill)), ("retry_after", get_args(RetryAfter))):
            if getattr(self, name) not in allowed:
                raise UserError(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        parse_steps(self.concurrency_steps)


def parse_faults(items: Iterable[str]) -> dict[str, float]:
    """Read faults as a command line gives them: `["500=0.1", "reset=0.02"]`; a bare name means always.

    Raises:
        UserError: an item is not NAME=PROBABILITY.
    """
    faults: dict[str, float] = {}
    for item in items:
        name, equals, share = item.partition("=")
        try:
            faults[name.strip()] = float(share) if equals else 1.0
        except ValueError:
            raise UserError(f"cannot read the fault {item!r}: write NAME=PROBABILITY, as in 500=0.1") from None
    return faults
