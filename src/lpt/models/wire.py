"""The OpenAI-compatible protocol as bytes: a request's body, a reply's parts, and what can be wrong with them."""

import base64
from functools import lru_cache
from typing import Any

import msgspec

from lpt.errors import BadReply, Denied, Refused
from lpt.models.base import Choice, Image, Message, Request, Usage
from lpt.settings import ModelSettings

MAX_BODY = 64 * 2**20
"""Bytes of a reply that are read at most: more than any answer, less than what hurts."""


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Said(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    message: _Said | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Body(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


class Answer(msgspec.Struct, frozen=True):
    """What one HTTP reply holds."""

    choices: tuple[Choice, ...]
    usage: Usage


_decode = msgspec.json.Decoder(_Body)


@lru_cache(maxsize=256)
def _data_url(key: str, media_type: str, data: bytes) -> str:
    # Cached: an image is sent once for each of its questions, and base64 of it is most of a request's cost.
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def data_url(image: Image) -> str:
    """An image as it travels inside a request."""
    return _data_url(image.key, image.media_type, image.data)


def message(said: Message) -> dict[str, Any]:
    """One turn; images stand before the text."""
    if not said.images:
        return {"role": said.role, "content": said.text}
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": data_url(i)}} for i in said.images]
    return {"role": said.role, "content": [*parts, {"type": "text", "text": said.text}]}


def parameters(request: Request, settings: ModelSettings) -> dict[str, Any]:
    """Everything of a request but the conversation."""
    sampling = request.sampling
    body: dict[str, Any] = {"model": settings.model}
    for name in ("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens"):
        value = getattr(sampling, name)
        if value is not None:
            body[name] = value
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.bad_words:
        body["bad_words"] = list(sampling.bad_words)
    if request.n > 1:
        body["n"] = request.n
    if settings.sampling_seed:
        body["seed"] = request.seed
    if request.schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": request.stage, "strict": True, "schema": request.schema},
        }
    return {**body, **settings.extra, **sampling.extra}


def read(status: int, body: bytes, what: str) -> Answer:
    """Read one HTTP reply; `what` names the model in errors.

    Raises:
        Denied, Refused: a 4xx, with the server's own words.
        BadReply: anything else that is not a reply as the protocol has it.
    """
    if 300 <= status < 400:
        raise Refused(f"{what} sent us elsewhere (HTTP {status}); redirects are never followed", kind="redirect")
    if 400 <= status < 500:
        kind = Denied if status in (401, 403, 404) else Refused
        raise kind(f"{what} refused the request (HTTP {status}): {words(body)}", kind=f"http-{status}")
    try:
        decoded = _decode.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadReply(
            f"{what} sent something that is not a reply: {words(body)} ({error})", kind="not-json"
        ) from None
    if not decoded.choices:
        kind_ = "error-body" if decoded.error is not None else "no-choices"
        raise BadReply(f"{what} sent no choices: {words(body)}", kind=kind_)
    usage = decoded.usage or _Usage()
    details = usage.prompt_tokens_details or _Details()
    choices = sorted(decoded.choices, key=lambda choice: choice.index)
    return Answer(
        tuple(_choice(choice) for choice in choices),
        Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0, details.cached_tokens or 0),
    )


def _choice(choice: _Choice) -> Choice:
    said = choice.message or _Said(content=choice.text)
    return Choice(
        text=said.content or "",
        reasoning=said.reasoning_content or said.reasoning,
        finish_reason=choice.finish_reason or "stop",
    )


def words(body: bytes, most: int = 300) -> str:
    """The server's own words, short enough for an error message."""
    text = " ".join(body[:4000].decode("utf-8", "replace").split())
    return text[:most] + ("…" if len(text) > most else "") or "(nothing)"
