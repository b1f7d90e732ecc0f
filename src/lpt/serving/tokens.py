"""A tokenizer of one regular expression: enough to count and to cache by, the same on every machine.

It is no model's vocabulary. It is lossless (the pieces of a text join to the text) and about as fine as a
real one on English prose (four to five characters a piece), so counts, limits and prices have the right size.
"""

import re
from collections.abc import Callable

# Words with their leading space in runs of at most six letters, numbers by three digits, the special tokens of
# the two templates, punctuation (never across a "<", which may begin one), and whitespace as it comes.
_PIECE = re.compile(
    r" ?[^\W\d_]{1,6}| ?\d{1,3}| ?_+|<\|\w+\|>|<\uff5c[^\uff5c<>]+\uff5c>| ?[^\w\s<]{1,3}| ?<|\s+?(?= ?\S)|\s+"
)

pieces: Callable[[str], list[str]] = _PIECE.findall
"""The token pieces of a text; `"".join(pieces(text)) == text`."""


def count(text: str) -> int:
    """How many tokens a text has."""
    return len(pieces(text))
