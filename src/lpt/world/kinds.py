"""The kinds of question: how each is worded and how it is answered from facts.

The same answers serve the truth (facts of the scene, `eye=False`: anything ambiguous is no answer), the reasoner
(facts of a caption) and the student (`eye=True`: facts that may be mistaken, so what fits best is taken).
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from lpt.world.grammar import THAN, Sentence, find, likeliest, place_of, read_place
from lpt.world.scene import Facts, Thing
from lpt.world.words import NUMBERS, ROWS

RECOGNITION: Final = "Recognition"
SPATIAL: Final = "Spatial and Relational Reasoning"
COUNTING: Final = "Counting and Quantification"
CAUSAL: Final = "Causal and Commonsense Reasoning"
GOAL: Final = "Analogical and Goal-Oriented Reasoning"
TYPES: Final = (RECOGNITION, SPATIAL, COUNTING, CAUSAL, GOAL)

PATTERN_NAMES: Final = {"plain": "No pattern", "striped": "Stripes", "spotted": "Spots", "checkered": "Checks"}
LIGHT_NAMES: Final = {
    "left": "From the left",
    "right": "From the right",
    "above": "From above",
    "behind": "From behind the objects",
}
SHADOW_NAMES: Final = {
    "left": "To its right",
    "right": "To its left",
    "above": "Straight beneath it",
    "behind": "Toward the viewer",
}

Slots = dict[str, str]
Solver = Callable[[Facts, Slots, Sequence[str], bool], "str | None"]


class Kind(NamedTuple):
    """One kind of question."""

    name: str
    type: str
    stem: Sentence
    solve: Solver


def normal(text: str) -> str:
    """An option without what does not matter: case, spaces, a leading article, a final stop."""
    return re.sub(r"^(?:the|an?) ", "", " ".join(text.casefold().split()).strip(" .\"'"))


def option_of(options: Sequence[str], value: str | None) -> str | None:
    """The option that says just this."""
    if value is None:
        return None
    wanted = normal(value)
    return next((option for option in options if normal(option) == wanted), None)


def pick(facts: Facts, phrase: str, eye: bool) -> Thing | None:
    """The one thing that a phrase means."""
    if eye:
        return likeliest(facts, phrase)
    fitting = find(facts, phrase)
    return fitting[0] if len(fitting) == 1 else None


def _value(read: Callable[[Thing, Facts], str]) -> Solver:
    """A question about a look or place of one thing."""

    def solve(facts: Facts, slots: Slots, options: Sequence[str], eye: bool) -> str | None:
        thing = pick(facts, slots.get("ref") or "object " + slots["place"], eye)
        return option_of(options, read(thing, facts)) if thing else None

    return solve


def _known(read: Callable[[Facts], str | None]) -> Solver:
    """A question about the scene as a whole."""
    return lambda facts, slots, options, eye: option_of(options, read(facts))


def _count(read: Callable[[Facts, Slots], int | None]) -> Solver:
    """A question for a number; an eye takes the nearest of the numbers on offer."""

    def solve(facts: Facts, slots: Slots, options: Sequence[str], eye: bool) -> str | None:
        number = read(facts, slots)
        if number is None or number >= len(NUMBERS):
            return None
        offered = {option: NUMBERS.index(normal(option)) for option in options if normal(option) in NUMBERS}
        if eye and offered:
            return min(offered, key=lambda option: abs(offered[option] - number))
        return option_of(options, NUMBERS[number])

    return solve


def _only(holds: Callable[[Facts, Thing, Slots, bool], bool]) -> Solver:
    """A question whose right option is the only one that names a thing of which something holds."""

    def solve(facts: Facts, slots: Slots, options: Sequence[str], eye: bool) -> str | None:
        right = [o for o in options if (thing := pick(facts, o, False)) and holds(facts, thing, slots, eye)]
        if eye and not right:
            # Nothing looks exactly like an option: what comes near one will do.
            right = [o for o in options if (thing := pick(facts, o, True)) and holds(facts, thing, slots, eye)]
        return right[0] if len(right) == 1 else None

    return solve


def _extreme(facts: Facts, thing: Thing, slots: Slots, eye: bool) -> bool:
    columns = [other.column for other in facts.things]
    edge = min(columns) if slots["side"] == "left" else max(columns)
    return thing.column == edge and (eye or columns.count(edge) == 1)


def _compare(facts: Facts, thing: Thing, slots: Slots, eye: bool) -> bool:
    other = pick(facts, slots["ref"], eye)
    axis, way = THAN[slots["than"]]
    return other is not None and (getattr(thing, axis) - getattr(other, axis)) * way > 0


def _behind(facts: Facts, thing: Thing, slots: Slots, eye: bool) -> bool:
    front = pick(facts, slots["ref"], eye)
    return front is not None and facts.hidden_by(front) == thing


def _twin(look: str) -> Callable[[Facts, Thing, Slots, bool], bool]:
    def holds(facts: Facts, thing: Thing, slots: Slots, eye: bool) -> bool:
        model = pick(facts, slots["ref"], eye)
        return model is not None and thing != model and getattr(thing, look) == getattr(model, look)

    return holds


def _alone_in_row(facts: Facts, thing: Thing, slots: Slots, eye: bool) -> bool:
    row = ROWS[facts.style].index(slots["row"]) if slots["row"] in ROWS[facts.style] else -1
    return thing.row == row and (eye or sum(other.row == row for other in facts.things) == 1)


def _alone_in_color(facts: Facts, thing: Thing, slots: Slots, eye: bool) -> bool:
    return thing.color == slots["color"] and (eye or sum(t.color == thing.color for t in facts.things) == 1)


def _row_count(facts: Facts, slots: Slots) -> int | None:
    rows = ROWS[facts.style]
    return sum(thing.row == rows.index(slots["row"]) for thing in facts.things) if slots["row"] in rows else None


KINDS: Final = (
    Kind("color", RECOGNITION, Sentence("what color is {ref}?"), _value(lambda t, f: t.color)),
    Kind(
        "pattern", RECOGNITION, Sentence("what pattern is on {ref}?"), _value(lambda t, f: PATTERN_NAMES[t.pattern])
    ),
    Kind("shape", RECOGNITION, Sentence("what kind of object is {place}?"), _value(lambda t, f: t.shape)),
    Kind(
        "sign",
        RECOGNITION,
        Sentence("which word is on the sign?"),
        _known(lambda f: f.sign.word if f.sign else None),
    ),
    Kind("ground", RECOGNITION, Sentence("what are the objects standing on?"), _known(lambda f: f.ground)),
    Kind(
        "where",
        SPATIAL,
        Sentence("where in the picture is {ref}?"),
        _value(lambda t, f: place_of(f.style, t.row, t.column)),
    ),
    Kind("extreme", SPATIAL, Sentence("which object is farthest to the {side}?"), _only(_extreme)),
    Kind("compare", SPATIAL, Sentence("which of these objects is {than} than {ref}?"), _only(_compare)),
    Kind("hidden", SPATIAL, Sentence("which object is partly hidden by {ref}?"), _only(_behind)),
    Kind(
        "count shape",
        COUNTING,
        Sentence("how many {shape}s are there?"),
        _count(lambda f, s: sum(t.shape == s["shape"] for t in f.things)),
    ),
    Kind(
        "count color",
        COUNTING,
        Sentence("how many {color} objects are there?"),
        _count(lambda f, s: sum(t.color == s["color"] for t in f.things)),
    ),
    Kind(
        "count pattern",
        COUNTING,
        Sentence("how many of the objects are {pattern}?"),
        _count(lambda f, s: sum(t.pattern == s["pattern"] for t in f.things)),
    ),
    Kind(
        "count flock",
        COUNTING,
        Sentence("how many {flock} can be counted?"),
        _count(lambda f, s: f.flock.count if f.flock else None),
    ),
    Kind("count row", COUNTING, Sentence("how many objects are in the {row} row?"), _count(_row_count)),
    Kind(
        "light",
        CAUSAL,
        Sentence("judging by the shadows, where does the light come from?"),
        _known(lambda f: LIGHT_NAMES.get(str(f.light))),
    ),
    Kind(
        "shadow",
        CAUSAL,
        Sentence("if one more object were set down here, where would its shadow fall?"),
        _known(lambda f: SHADOW_NAMES.get(str(f.light))),
    ),
    Kind(
        "roll",
        CAUSAL,
        Sentence("if the ground were tilted, which of these would roll away first?"),
        _only(lambda f, t, s, e: t.shape == "ball"),
    ),
    Kind(
        "reveal",
        CAUSAL,
        Sentence("if {ref} were taken away, which object would come fully into view?"),
        _only(_behind),
    ),
    Kind(
        "sort shape",
        GOAL,
        Sentence("someone sorts the objects by shape. Which one belongs with {ref}?"),
        _only(_twin("shape")),
    ),
    Kind(
        "sort color",
        GOAL,
        Sentence("someone sorts the objects by color. Which one belongs with {ref}?"),
        _only(_twin("color")),
    ),
    Kind(
        "clear row",
        GOAL,
        Sentence("which object would have to be moved to leave the {row} row empty?"),
        _only(_alone_in_row),
    ),
    Kind(
        "clear color",
        GOAL,
        Sentence("which one would have to go so that nothing {color} is left?"),
        _only(_alone_in_color),
    ),
)


def recognise(text: str) -> tuple[Kind, Slots] | None:
    """The last question of the world's kinds in a text, and what it is about."""
    found = [
        (match.end(), kind, {name: " ".join(value.split()).lower() for name, value in match.groupdict().items()})
        for kind in KINDS
        for match in kind.stem.pattern.finditer(text)
    ]
    if not found:
        return None
    _, kind, slots = max(found, key=lambda one: one[0])
    return kind, slots


def solve(stem: str, options: Sequence[str], facts: Facts, eye: bool = False) -> str | None:
    """The option that the facts make right.

    Args:
        stem: The question, or a text that holds it.
        options: The texts on offer.
        facts: What is known of the scene.
        eye: The facts may be mistaken: take what fits best instead of insisting.

    Returns:
        One of the options, or None: the question is none of the world's, or the facts do not decide it.
    """
    known = recognise(stem)
    if known is None:
        return None
    kind, slots = known
    return kind.solve(facts, slots, options, eye)


def place_in(facts: Facts, phrase: str) -> tuple[int, int] | None:
    """Where the thing stands that a phrase means, for an eye that wants to look there."""
    place = read_place(phrase, facts.style)
    if place:
        return place
    thing = likeliest(facts, phrase)
    return (thing.row, thing.column) if thing else None
