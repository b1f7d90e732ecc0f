"""How each kind of server continues an assistant turn.

| dialect | server | how |
|---|---|---|
| continue | vLLM, SGLang | the turn is the last message, `continue_final_message`, no generation prompt |
| trailing | llama.cpp, Ollama | the turn is the last message |
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
_ECHO = 12
"""A prefill shorter than this may well begin a continuation by chance ("A", "I"), unless it is a tag."""


def body(
    request: Request, settings: ModelSettings, dialect: Dialect, template: Template | None, name: str
) -> tuple[str, Fields]:
    """The path below the base URL, and the body, of a request in a dialect. Without a prefill all are alike.

    Raises:
        UserError: the dialect cannot say this (images as text), or lacks its template; `name` is the model's.
    """
    fields = wire.parameters(request, settings)
    if request.prefill is None:
        return CHAT, {**fields, "messages": [wire.message(said) for said in request.messages]}
    if request.prefill != request.prefill.rstrip():
        # Some templates trim it and most tokenizers see another token: the continuation would not fit.
        raise ValueError(f"a prefill may not end in white space: …{request.prefill[-20:]!r}")
    if dialect == "completions":
        return COMPLETIONS, {**fields, **_rendered(request, fields, template, name)}
    if dialect == "instructed":
        messages = _instructed(request.messages, request.prefill)
        return CHAT, {**fields, "messages": [wire.message(said) for said in messages]}
    turn = {"role": "assistant", "content": request.prefill, **_MARKS.get(dialect, {})}
    messages_ = [*(wire.message(said) for said in request.messages), turn]
    return CHAT, {**fields, **_FLAGS.get(dialect, {}), "messages": messages_}


def _rendered(request: Request, fields: Fields, template: Template | None, name: str) -> Fields:
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
        more["add_special_tokens"] = fields.get("add_special_tokens", False)
    return more


def _instructed(messages: tuple[Message, ...], prefill: str) -> list[Message]:
    asked = _INSTRUCTION.format(prefill=prefill)
    *before, last = messages
    if last.role != "user":
        return [*messages, Message("user", asked)]
    return [*before, msgspec.structs.replace(last, text=f"{last.text}\n\n{asked}")]


def heard(choice: Choice, request: Request, dialect: Dialect) -> Choice:
    """A choice as it is meant: the continuation alone, where a server says the prefill again."""
    prefill = request.prefill
    if not prefill:
        return choice
    text, reasoning = choice.text, choice.reasoning
    if reasoning is None:
        text = _without(text, prefill)
    else:  # an echo stands in what comes first, and a parser may have taken the tag off it
        whole = _without(reasoning, prefill)
        reasoning = whole if whole != reasoning else _without(reasoning, prefill.removeprefix("<think>").lstrip())
    return msgspec.structs.replace(choice, text=text, reasoning=reasoning, instructed=dialect == "instructed")


def _without(text: str, prefill: str) -> str:
    """The text behind a whole prefill with which it begins; as it is, where it does not, or by chance."""
    if len(prefill) < _ECHO and not prefill.startswith("<"):
        return text
    said = text.lstrip()
    return said[len(prefill) :] if said.startswith(prefill) else text
