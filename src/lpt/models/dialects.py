"""How each kind of server continues an assistant turn.

| dialect | server | how |
|---|---|---|
| continue | vLLM, SGLang | the turn is the last message, `continue_final_message`, no generation prompt |
| trailing | llama.cpp, Ollama | the turn is the last message; what llama.cpp makes of it, `manners` finds out |
| prefix | DeepSeek | the turn is the last message, marked `prefix` |
| completions | any with /v1/completions | the whole conversation as text, rendered here |
| instructed | the rest | asked in words to go on; every record says so |
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from lpt.chat import Template
from lpt.errors import UserError
from lpt.models import wire
from lpt.models.base import Choice, Message, Request
from lpt.models.wire import Fields
from lpt.settings import ModelSettings

Dialect: TypeAlias = Literal["continue", "trailing", "prefix", "completions", "instructed"]

CHAT = "/chat/completions"
COMPLETIONS = "/completions"

_FLAGS: Mapping[str, Fields] = {"continue": {"continue_final_message": True, "add_generation_prompt": False}}
_MARKS: Mapping[str, Fields] = {"prefix": {"prefix": True}}
_INSTRUCTION = """\
You have already begun your answer. What you have said so far stands below, between the two marks. Go on from its
very last word, as if you had not been interrupted: repeat none of it, do not begin anew, do not mention this note,
and do not say that you are going on.
<<<
{prefill}
>>>"""
_ROOM = 1024
"""Tokens of a completion where nothing is said: this route's own default is 16, which cuts every thought."""
_TAG = "<think>"


class Way(msgspec.Struct, frozen=True):
    """A dialect, and what is known of how the server takes it."""

    dialect: Dialect
    opens: str = ""
    """The tag, and the white space after it, that the server puts before a turn: it is left out of what is sent."""
    apart: bool = False
    """The thought that is gone on with is sent as `reasoning_content`: as content it would stand behind a closed
    one."""
    marks: bool = False
    """The server puts the tokenizer's first mark before a text whatever it is told: it is left out of the text."""


def sent(request: Request, way: Way) -> Request:
    """A request with its turn as it goes out: without what the server puts before it."""
    prefill = request.prefill
    if not way.opens or not prefill or not prefill.startswith(_TAG):
        return request
    rest = prefill.removeprefix(way.opens)
    rest = prefill.removeprefix(_TAG).lstrip() if rest == prefill else rest
    return msgspec.structs.replace(request, prefill=rest or None)


def body(
    request: Request, settings: ModelSettings, way: Way, template: Template | None, name: str
) -> tuple[str, Fields]:
    """The path below the base URL, and the body, of a request. Without a prefill all dialects are alike.

    Args:
        request: as `sent` has it.
        settings: the model's.
        way: how its turn is continued.
        template: for `completions`.
        name: what the recipe calls the model, for errors.

    Raises:
        UserError: the dialect cannot say this (images as text), or lacks its template.
    """
    fields = wire.parameters(request, settings)
    dialect = way.dialect
    if request.prefill is None:
        return CHAT, {**fields, "messages": [wire.message(said) for said in request.messages]}
    if request.prefill != request.prefill.rstrip():
        # Some templates trim it and most tokenizers see another token: the continuation would not fit.
        raise ValueError(f"a prefill may not end in white space: …{request.prefill[-20:]!r}")
    if dialect == "completions":
        return COMPLETIONS, {**fields, **_rendered(request, fields, way, template, name)}
    if dialect == "instructed":
        messages = _instructed(request.messages, request.prefill)
        return CHAT, {**fields, "messages": [wire.message(said) for said in messages]}
    words = {"content": "", "reasoning_content": request.prefill} if way.apart else {"content": request.prefill}
    turn = {"role": "assistant", **words, **_MARKS.get(dialect, {})}
    messages_ = [*(wire.message(said) for said in request.messages), turn]
    return CHAT, {**fields, **_FLAGS.get(dialect, {}), "messages": messages_}


def _rendered(request: Request, fields: Fields, way: Way, template: Template | None, name: str) -> Fields:
    if template is None:
        raise UserError(
            f'models.{name}.prefill = "completions" needs models.{name}.template: a tokenizer folder, a Jinja '
            "file, or a built-in name"
        )
    if any(said.images for said in request.messages):
        raise UserError(
            f'models.{name}.prefill = "completions" sends text alone, and this request shows an image: '
            f"choose another models.{name}.prefill for a model that sees"
        )
    prompt = template.render(request.messages, prefill=request.prefill).text
    more: Fields = {"prompt": prompt, "max_tokens": fields.get("max_tokens", _ROOM)}
    if template.bos and prompt.startswith(template.bos):  # the server would put a second one before it
        if way.marks:
            more["prompt"] = prompt.removeprefix(template.bos)
        else:
            more["add_special_tokens"] = fields.get("add_special_tokens", False)
    return more


def _instructed(messages: tuple[Message, ...], prefill: str) -> list[Message]:
    asked = _INSTRUCTION.format(prefill=prefill)
    *before, last = messages
    if last.role != "user":
        return [*messages, Message("user", asked)]
    return [*before, msgspec.structs.replace(last, text=f"{last.text}\n\n{asked}")]


def said_again(choice: Choice, prefill: str) -> bool:
    """Whether a reply begins with the whole turn that it was to continue: by an echo, or by chance."""
    return without_echo(choice, prefill) is not choice


def without_echo(choice: Choice, prefill: str) -> Choice:
    """A reply without the turn that it begins with; the same object where it does not begin with it."""
    if choice.reasoning is None:
        rest = _after(choice.text, prefill)
        return choice if rest is None else msgspec.structs.replace(choice, text=rest)
    # An echo stands in what comes first, and a parser may have taken the tag off it.
    for turn in (prefill, prefill.removeprefix(_TAG)):
        rest = _after(choice.reasoning, turn)
        if rest is not None:
            return msgspec.structs.replace(choice, reasoning=rest)
    return choice


def _after(text: str, turn: str) -> str | None:
    """What stands behind a turn with which a text begins, white space before either aside; None if it does not."""
    said, turn = text.lstrip(), turn.lstrip()
    return said[len(turn) :] if turn and said.startswith(turn) else None
