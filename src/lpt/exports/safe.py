"""Text from strangers, made safe to stand in a chat: it can spell no token that a trainer acts on.

A caption, a question or a reply may hold `<image>`, which LLaMA-Factory counts against the number of images, or
`<|im_end|>`, which a tokenizer turns into the end of the turn. Such a mark gets one space after its first
character: a person reads the same, a tokenizer reads plain text.
"""

import re

_MARKS = re.compile(
    # Looking ahead, so that a mark within a mark is found, too.
    r"(?="
    # <|im_end|>, <|image_pad|>, <|begin_of_text|>, and DeepSeek's with full-width bars.
    r"<[|\uff5c][^<>|\uff5c\s]{1,64}[|\uff5c]>"
    # What stands for a picture, a film or a sound in LLaMA-Factory, LLaVA, Gemma and others.
    r"|<(?:image|video|audio|img|/img|image_soft_token|(?:start|end)_of_(?:image|turn))>"
    r"|</?s>|<(?:bos|eos|pad|unk)>|</?tool_(?:call|response)>"
    # Mistral's and Llama 2's.
    r"|\[/?(?:INST|SYSTEM_PROMPT|IMG|IMG_BREAK|IMG_END)\]|<</?SYS>>"
    # LLaMA-Factory fills this in within a user's content.
    r"|\{\{idx\}\}"
    r")"
)


def safe_text(text: str) -> str:
    """The text without live marks: the text itself where there are none."""
    return safe_turn("", text)[1]


def safe_turn(prefix: str, rest: str) -> tuple[str, str]:
    """A turn in two parts, made safe also where they meet: neither part nor their join holds a live mark."""
    places = [match.start() + 1 for match in _MARKS.finditer(prefix + rest)]
    if not places:
        return prefix, rest
    cut = len(prefix)
    # A mark that is cut right behind its first character gets its space on the far side: a prefix never gains
    # white space at its end.
    return (
        _spaced(prefix, [place for place in places if place < cut]),
        _spaced(rest, [place - cut for place in places if place >= cut]),
    )


def _spaced(text: str, places: list[int]) -> str:
    parts = []
    last = 0
    for place in places:
        parts.append(text[last:place])
        last = place
    return " ".join([*parts, text[last:]])
