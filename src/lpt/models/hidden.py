"""Secrets that a server says again, found in whatever way it writes them."""

import functools
import html
import re
from collections.abc import Sequence

MARK = "[secret]"


def hidden(text: str, secrets: Sequence[str]) -> str:
    """A text without the secrets, as they are or as JSON, HTML or a URL would have them, also in part."""
    for secret in secrets:
        text = _pattern(secret).sub(MARK, text)
    return text


@functools.lru_cache(maxsize=256)
def _pattern(secret: str) -> re.Pattern[str]:
    return re.compile("".join(map(_written, secret)))


def _written(character: str) -> str:
    """The ways in which one character of a secret may be written."""
    if character.isalnum():  # nobody escapes these
        return character
    code = ord(character)
    ways = [rf"(?i:%{code:02x}|\\u{code:04x}|&#0*{code};|&#x0*{code:x};)"]
    if html.escape(character) != character:
        ways.append(html.escape(character))
    # What is longer comes first: of "%25" for "%", nothing is to be left.
    return f"(?:{'|'.join(ways)}|\\\\*{re.escape(character)}{'|[+]' if character == ' ' else ''})"
