"""Caption → facts: finds the sentences of a caption in whatever text stands around them."""

import re
from functools import lru_cache
from typing import Final

from lpt.world.describe import FLOCKED, LIT, OPENINGS, SIGNS, THINGS
from lpt.world.grammar import Sentence, read_looks, read_place
from lpt.world.scene import Facts, Flock, Sign, Thing
from lpt.world.words import COLUMNS, NUMBERS, RICH, SHAPES

_STARTS: Final = tuple((style, opening) for style, openings in OPENINGS.items() for opening in openings)


@lru_cache(maxsize=256)
def read(text: str) -> Facts | None:
    """The facts of the last caption in a text.

    Args:
        text: A prompt of any wording, or a caption alone.

    Returns:
        What the caption says, as far as it goes (a caption cut short yields fewer facts); None where the text holds
        no caption's opening sentence.
    """
    starts = [
        (match.start(), match, style) for style, opening in _STARTS for match in opening.pattern.finditer(text)
    ]
    if not starts:
        return None
    # Examples come before the case at hand: the last caption is the one that is meant.
    begin, opening, style = max(starts, key=lambda start: start[0])
    body = text[begin:]
    things: dict[tuple[int, int], Thing] = {}
    for match in _all(THINGS, body):
        thing = _thing(match["thing"], match["place"], style)
        if thing:
            things.setdefault((thing.row, thing.column), thing)
    if style != RICH:
        return Facts(style=style, things=tuple(sorted(things.values())))
    signs, flocks = _all(SIGNS, body), _all(FLOCKED, body)
    sign = flock = None
    where = " ".join(signs[0]["column"].split()) if signs else ""
    if where in COLUMNS[RICH]:
        sign = Sign(word=signs[0]["word"], color=signs[0]["signcolor"], column=COLUMNS[RICH].index(where))
    if flocks:
        flock = Flock(kind=flocks[0]["flock"].lower(), count=NUMBERS.index(flocks[0]["count"].lower()))
    return Facts(
        style=style,
        things=tuple(sorted(things.values())),
        ground=" ".join(opening["ground"].split()),
        light=next((light for light, sentence in LIT.items() if sentence.pattern.search(body)), None),
        sign=sign,
        flock=flock,
    )


def _all(sentences: tuple[Sentence, ...], text: str) -> list[re.Match[str]]:
    return [match for sentence in sentences for match in sentence.pattern.finditer(text)]


def _thing(phrase: str, where: str, style: str) -> Thing | None:
    """A thing as a sentence tells it; None where the words do not make one of this style."""
    looks, place = read_looks(phrase), read_place(where, style)
    if place is None or "color" not in looks or looks.get("shape") not in SHAPES[style]:
        return None
    return Thing(
        row=place[0],
        column=place[1],
        shape=looks["shape"],
        color=looks["color"],
        pattern=looks.get("pattern", "plain"),
        size=looks.get("size", "medium"),
    )
