"""A rendered chat back into its turns, for requests that send text instead of messages.

Knows two templates: chatml (`<|im_start|>role`, newline, text, `<|im_end|>`) and that of DeepSeek-R1 and its
distillations (`<|User|>text<|Assistant|>text`, with full-width bars). A text without either is one user turn.
"""

import re

from lpt.serving.protocol import Turn

_CHATML = re.compile(r"<\|im_start\|>([^\n<]*)\n(.*?)(<\|im_end\|>\n?|(?=<\|im_start\|>)|\Z)", re.DOTALL)
_R1_USER, _R1_ASSISTANT = "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>"
_R1_BEGIN = "<\uff5cbegin\u2581of\u2581sentence\uff5c>"
_R1_END = "<\uff5cend\u2581of\u2581sentence\uff5c>"
_R1 = re.compile(f"({_R1_USER}|{_R1_ASSISTANT})")


def split(prompt: str) -> tuple[tuple[Turn, ...], str | None]:
    """Take a rendered chat apart.

    Returns:
        The closed turns, and the text of the assistant turn that is left open (None when it is empty or when
        every turn is closed: then a new turn begins).
    """
    if "<|im_start|>" in prompt:
        parts = [(m[1].strip(), m[2], bool(m[3])) for m in _CHATML.finditer(prompt)]
    elif _R1_USER in prompt or _R1_ASSISTANT in prompt:
        parts = _r1(prompt)
    else:
        parts = [("user", prompt, True)]
    prefill = None
    if parts and parts[-1][0] == "assistant" and not parts[-1][2]:
        prefill = parts.pop()[1] or None
    return tuple(Turn(role, text) for role, text, _ in parts), prefill


def _r1(prompt: str) -> list[tuple[str, str, bool]]:
    system, *rest = _R1.split(prompt.removeprefix(_R1_BEGIN))
    parts = [("system", system, True)] if system else []
    for mark, text in zip(rest[::2], rest[1::2], strict=True):
        role = "user" if mark == _R1_USER else "assistant"
        parts.append((role, text.removesuffix(_R1_END), role == "user" or text.endswith(_R1_END)))
    return parts
