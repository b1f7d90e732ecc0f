"""Words of strangers, made harmless for a terminal."""

import re

# Control characters, among them the escape codes that a terminal would obey; what turns the direction of writing;
# separators of lines and paragraphs; lone surrogates, which cannot be printed at all. Tab and newline stay.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def safe(text: str) -> str:
    """A text that no terminal obeys: what it would obey becomes the replacement character."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)
