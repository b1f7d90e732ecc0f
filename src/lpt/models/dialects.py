"""How each kind of server continues an assistant turn.

| dialect | server | how |
|---|---|---|
| continue | vLLM, SGLang | the turn is the last message, `continue_final_message`, no generation prompt |
| trailing | llama.cpp, Ollama | the turn is the last message |
| prefix | DeepSeek | the turn is the last message, marked `prefix` |
| completions | any with /v1/completions | the whole conversation as text, rendered here |
| instructed | the rest | asked in words to go on; every record says so |
"""

from typing import Any

import msgspec

from lpt.chat import Template
from lpt.errors import UserError
from lpt.models import wire
from lpt.models.base import Choice, Message, Request
from lpt.settings import ModelSettings

CHAT = "/chat/completions"
COMPLETIONS = "/completions"

_INSTRUCTION = (
    "You have already begun your answer. It stands below, between the marks. Go on from its last word: do not "
    "repeat any of it, do not begin anew, and do not say that you are going on.\n<<<\n{prefill}\n>>>"
)


def body(
    request: Request, settings: ModelSettings, dialect: str, template: Template | None
) -> tuple[str, dict[str, Any]]:
    """The path and body of a request in a dialect."""
    parameters = wire.parameters(request, settings)
    messages = list(request.messages)
    if request.prefill is None:
        if dialect == "completions":
            return COMPLETIONS, {**parameters, "prompt": _rendered(request, settings, template)}
        return CHAT, {**parameters, "messages": [wire.message(said) for said in messages]}
    assert request.prefill == request.prefill.rstrip(), "a prefill that ends in white space splits a token"
    if dialect == "completions":
        return COMPLETIONS, {**parameters, "prompt": _rendered(request, settings, template)}
    if dialect == "instructed":
        last = messages.pop()
        asked = _INSTRUCTION.format(prefill=request.prefill)
        messages.append(Message(last.role, f"{last.text}\n\n{asked}", last.images))
        return CHAT, {**parameters, "messages": [wire.message(said) for said in messages]}
    turn: dict[str, Any] = {"role": "assistant", "content": request.prefill}
    if dialect == "prefix":
        turn["prefix"] = True
    elif dialect == "continue":
        parameters |= {"continue_final_message": True, "add_generation_prompt": False}
    return CHAT, {**parameters, "messages": [*(wire.message(said) for said in messages), turn]}


def _rendered(request: Request, settings: ModelSettings, template: Template | None) -> str:
    if template is None:
        raise UserError(
            f'{settings.model}: prefill = "completions" needs `template` (a tokenizer folder or a file)'
        )
    if any(said.images for said in request.messages):
        raise UserError(
            f"{settings.model}: /v1/completions takes no images; use another `prefill` for a model that sees"
        )
    return template.render(request.messages, prefill=request.prefill).text


def heard(choice: Choice, request: Request, dialect: str) -> Choice:
    """A choice as it is meant: without the prefill, where a server says it again."""
    if not request.prefill:
        return choice
    text = choice.text.removeprefix(request.prefill)
    return msgspec.structs.replace(choice, text=text, instructed=dialect == "instructed")
