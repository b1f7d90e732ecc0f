"""Conversations as other tools write them → turns: what was asked, what is given, what is learnt.

Understood: lists of `{role, content}` or `{from, value}` (or of other tags, where a registration names them), dicts
of two such lists, dicts by role, JSON of any of these; content as a text or as parts; and whole chats rendered as
ChatML in one user turn, which is how a trainer is handed a prefix that carries no loss.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "question": "user",
    "prompt": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "response": "assistant",
    "answer": "assistant",
    "output": "assistant",
}
_TAGS = (("role", "content"), ("from", "value"))
_INSIDE = ("messages", "conversations", "conversation", "turns")
_IMAGE = re.compile(r"<\|vision_start\|>.*?<\|vision_end\|>|<image>", re.DOTALL)
_VISION_END = "<|vision_end|>"
_CHATML = re.compile(r"<\|im_start\|>(\w+)\n(.*?)(?:<\|im_end\|>\n?|\Z)", re.DOTALL)


class Turns(NamedTuple):
    """One question and what the assistant says, as far as a row tells."""

    system: str
    prompt: str
    given: str
    """The start of the assistant's turn that carries no loss."""
    said: str
    """The rest of it; empty where a row has two sides instead."""
    images: int
    """How many images the text refers to."""


def turns(
    value: object, tags: tuple[str, str] | None = None, roles: Mapping[str, str] | None = None
) -> Turns | str:
    """The turns of a row; a reason, where they cannot be understood."""
    found = _messages(value, tags)
    if isinstance(found, str):
        return found
    named = [((roles or {}).get(role) or _ROLES.get(role.strip().lower()), text) for role, text in found]
    if any(role is None for role, _ in named):
        return "unknown-role"
    system = "\n".join(text for role, text in named if role == "system")
    rest = [(role, text) for role, text in named if role != "system"]
    if not rest or [role for role, _ in rest] not in (["user"], ["user", "assistant"]):
        return "several-turns" if len(rest) > 2 else "no-question"
    prompt = rest[0][1]
    said = rest[1][1] if len(rest) == 2 else ""
    given = ""
    if prompt.startswith("<|im_start|>"):
        rendered = _CHATML.findall(prompt)
        if [role for role, _ in rendered if role != "system"] != ["user", "assistant"]:
            return "several-turns"
        parts = dict(rendered)
        system, prompt, given = parts.get("system", system), parts["user"], parts["assistant"]
    prompt, images = without_images(prompt)
    return Turns(system.strip(), prompt.strip(), given, said.removesuffix("<|im_end|>"), images)


def without_images(text: str) -> tuple[str, int]:
    """A text without the marks that stand for images, and how many there were. Linear in its length."""
    # Behind the last closing mark, every opening one would be followed to the text's end, in vain.
    head, closing, tail = text.rpartition(_VISION_END)
    head, count = _IMAGE.subn("", head + closing)
    return head + tail.replace("<image>", ""), count + tail.count("<image>")


def side(value: object, tags: tuple[str, str] | None = None) -> str | None:
    """A chosen or rejected text: a turn, a list of one, or the text itself."""
    if isinstance(value, str):
        return value
    found = _messages([value] if isinstance(value, dict) else value, tags)
    if isinstance(found, str) or not found:
        return None
    return found[-1][1].removesuffix("<|im_end|>")


def _messages(value: object, tags: tuple[str, str] | None) -> list[tuple[str, str]] | str:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return "messages-not-understood"
    if isinstance(value, dict):
        value = _of_dict(value, tags)
    if not isinstance(value, (list, tuple)) or not value:
        return "messages-not-understood"
    found: list[tuple[str, str]] = []
    for turn in value:
        if not isinstance(turn, dict):
            return "messages-not-understood"
        pair = next((pair for pair in (tags, *_TAGS) if pair and pair[0] in turn and pair[1] in turn), None)
        text = _text(turn[pair[1]]) if pair else None
        if pair is None or text is None or not isinstance(turn[pair[0]], str):
            return "messages-not-understood"
        found.append((turn[pair[0]], text))
    return found


def _of_dict(value: dict[str, Any], tags: tuple[str, str] | None) -> object:
    """A dict as a list of turns: it holds one, or two parallel lists, or a text by role."""
    for name in _INSIDE:
        if name in value:
            return value[name]
    for role, content in ((tags or _TAGS[0]), *_TAGS):
        roles, contents = value.get(role), value.get(content)
        if isinstance(roles, list) and isinstance(contents, list) and len(roles) == len(contents):
            return [{role: a, content: b} for a, b in zip(roles, contents, strict=True)]
        if isinstance(roles, str) and content in value:
            return [value]
    said = {_ROLES[key.lower()]: text for key, text in value.items() if key.lower() in _ROLES and text is not None}
    return [{"role": role, "content": said[role]} for role in ("system", "user", "assistant") if role in said]


def _text(content: object) -> str | None:
    """A turn's text; of parts, those that are text, with a mark for each image."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts: list[str] = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(part, dict) and ("image" in str(part.get("type")) or "image" in part):
            texts.append("<image>")
        else:
            return None
    return "".join(texts)
