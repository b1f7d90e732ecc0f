"""A thought → the option that it settled on. The reasoner has nothing else to learn the claim from."""

import re
from typing import Final, NamedTuple

from lpt.world.hearing import Exam

_PAIR: Final = re.compile(
    r"(?<![\w(])(?:\(([A-J])\)|\b(?:[Oo]ption|[Cc]hoice)\s+([A-J])\b[.:,]?|([A-J])\.)\s*(?=([^\n]{0,80}))"
)
_TURNED_DOWN: Final = re.compile(
    r"\s*:?\s*(?:this (?:does not|seems off)|I see no|(?:is|does|was) not)", re.IGNORECASE
)


class Claim(NamedTuple):
    """What a thought says of the options."""

    option: str | None
    """The one that it settled on; None: none could be made out."""
    foreign: bool
    """It names letters with other texts than the question at hand: it was thought about something else."""
    words: int
    """How long the thought is."""


def claim_of(thought: str, put: Exam) -> Claim:
    """Reads a thought for the option named last that it does not turn down."""
    mentions: list[tuple[int, str]] = []
    foreign = False
    for match in _PAIR.finditer(thought):
        letter, rest = match[1] or match[2] or match[3], match[4].strip()
        place = "ABCDEFGHIJ".index(letter)
        option = put.options[place] if place < len(put.options) else None
        if option is None:
            foreign = True
        elif _begins(rest, option):
            if not _TURNED_DOWN.match(rest[len(option) :]):
                mentions.append((match.start(), option))
        elif any(_begins(rest, other) for other in put.options):
            foreign = True  # this letter stood before another of the options
        elif rest[:1].isupper() and not match[2]:
            foreign = True  # a text that is none of the options
        else:
            mentions.append((match.start(), option))
    if not mentions:
        mentions = [
            (match.start(), option)
            for option in put.options
            for match in re.finditer(rf"(?<!\w){re.escape(option)}(?!\w)", thought, re.IGNORECASE)
        ]
    # Of two at the same place (One, One more) the longer is meant; of several places the last.
    best = max(mentions, key=lambda mention: (mention[0], len(mention[1])), default=None)
    return Claim(best[1] if best else None, foreign, len(thought.split()))


def _begins(text: str, option: str) -> bool:
    head = text[: len(option)].casefold()
    return head == option.casefold() and not text[len(option) : len(option) + 1].isalnum()


def split_cue(prefill: str) -> tuple[str, str]:
    """An assistant turn to be continued → the thought in it, and the cue that it ends in (may be empty).

    The cue is the last, short clause: what follows the last sentence's end, or a last sentence of up to eight words
    that stands apart.
    """
    text = prefill.rsplit("<think>", 1)[-1].rstrip()
    open_end = re.search(r"(?:^|[.!?\"”)]|\n)\s*([^.!?\n]{1,60},)$", text)
    if open_end:
        return text[: open_end.start(1)].strip(), open_end[1].strip()
    closed = re.search(r"(?:^|[.!?\"”)]|\n)\s*([A-Z][^.!?\n]{3,60}[.!…:?])$", text)
    if (
        closed
        and len(closed[1].split()) <= 8
        and re.match(r"(?i)let|now|hold|wait|hmm|actually|but|on second", closed[1])
    ):
        return text[: closed.start(1)].strip(), closed[1].strip()
    return text.strip(), ""
