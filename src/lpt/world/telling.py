"""Facts → what one says who sees them: the sentences that bear on a question, for the student and the reasoner."""

import re
from collections.abc import Callable
from typing import Final

from lpt.serving.protocol import Ask, Said
from lpt.world import tokens
from lpt.world.grammar import look_of, place_of
from lpt.world.kinds import PATTERN_NAMES, Kind, Slots, pick
from lpt.world.scene import Facts, Thing
from lpt.world.words import NUMBERS, ROWS

_Teller = Callable[[Thing, Slots, Facts], str]
_SHADOWS: Final = {
    "left": "the shadows stretch to the right",
    "right": "the shadows stretch to the left",
    "above": "the shadows sit right beneath the objects",
    "behind": "the shadows fall toward the front",
}


def topic(kind: Kind | None, slots: Slots) -> str:
    """What a question makes one look at."""
    if "ref" in slots:
        return slots["ref"]
    if "place" in slots:
        return "the spot " + slots["place"]
    if "row" in slots:
        return f"the {slots['row']} row"
    for slot, words in (
        ("shape", "all the {}s"),
        ("color", "everything {}"),
        ("pattern", "every {} surface"),
        ("flock", "the {}"),
    ):
        if slot in slots:
            return words.format(slots[slot])
    names = {
        "sign": "the sign",
        "ground": "the surface underneath",
        "light": "the shadows",
        "shadow": "the shadows",
    }
    return names.get(kind.name if kind else "", "the objects")


def evidence(kind: Kind, slots: Slots, facts: Facts) -> str:
    """One clause, without a capital and a full stop, that says what decides the question."""
    thing = None
    if "ref" in slots or "place" in slots:
        phrase = slots.get("ref") or "object " + slots["place"]
        thing = pick(facts, phrase, eye=True)
        if thing is None:
            return f"it is hard to make out {topic(kind, slots)}"
    tell = _ABOUT_THING.get(kind.name)
    if tell and thing:
        return tell(thing, slots, facts)
    if kind.name.startswith("count"):
        return _counted(kind, slots, facts)
    return _about_scene(kind, slots, facts)


def where(thing: Thing, facts: Facts) -> str:
    """The place of a thing in words."""
    return place_of(facts.style, thing.row, thing.column)


def _tell_compare(thing: Thing, slots: Slots, facts: Facts) -> str:
    others = [other for other in facts.things if other != thing][:3]
    rest = ", ".join(f"the {look_of(other)} {where(other, facts)}" for other in others)
    return f"the {look_of(thing)} is {where(thing, facts)}" + (f", with {rest}" if rest else "")


def _tell_behind(thing: Thing, slots: Slots, facts: Facts) -> str:
    back = facts.hidden_by(thing)
    if back is None:
        return f"nothing seems to stand directly behind the {look_of(thing)}"
    return f"the {look_of(thing)} overlaps the {look_of(back)} right behind it"


def _tell_twin(look: str) -> _Teller:
    def tell(thing: Thing, slots: Slots, facts: Facts) -> str:
        value = getattr(thing, look)
        twin = next((t for t in facts.things if t != thing and getattr(t, look) == value), None)
        if twin is None:
            return f"no second {value} {'object' if look == 'color' else 'one'} catches the eye"
        return f"besides the {look_of(thing)}, the {look_of(twin)} {where(twin, facts)} has the same {look}"

    return tell


_ABOUT_THING: Final[dict[str, _Teller]] = {
    "color": lambda t, s, f: f"the {t.shape} {where(t, f)} is {t.color}",
    "pattern": lambda t, s, f: f"the {look_of(t)} shows {PATTERN_NAMES[t.pattern].lower()}",
    "shape": lambda t, s, f: f"the outline {where(t, f)} is that of a {t.color} {t.shape}",
    "where": lambda t, s, f: f"the {look_of(t)} is {where(t, f)}",
    "compare": _tell_compare,
    "hidden": _tell_behind,
    "reveal": _tell_behind,
    "sort shape": _tell_twin("shape"),
    "sort color": _tell_twin("color"),
}


def _counted(kind: Kind, slots: Slots, facts: Facts) -> str:
    if kind.name == "count flock":
        number = facts.flock.count if facts.flock else 0
        return f"going across the upper part from left to right there are {NUMBERS[number]} {slots['flock']}"
    if kind.name == "count row":
        rows = ROWS[facts.style]
        counted = [t for t in facts.things if slots["row"] in rows and t.row == rows.index(slots["row"])]
    else:
        look = kind.name.removeprefix("count ")
        counted = [t for t in facts.things if getattr(t, look) == slots[look]]
    if not counted:
        return f"nothing of the kind turns up among {topic(kind, slots)}"
    names = ", then ".join(f"the {look_of(t)}" for t in counted)
    return f"counting one by one there is {names}, which makes {NUMBERS[len(counted)]}"


def _about_scene(kind: Kind, slots: Slots, facts: Facts) -> str:
    if kind.name == "sign":
        return f'the letters on the board look like "{facts.sign.word}"' if facts.sign else "no sign stands out"
    if kind.name == "ground":
        return f"everything rests on {facts.ground}"
    if kind.name in ("light", "shadow"):
        return _SHADOWS.get(str(facts.light), "the shadows are too faint to follow")
    chosen: list[Thing] = []
    if kind.name == "extreme" and facts.things:
        edge = min if slots["side"] == "left" else max
        chosen = [edge(facts.things, key=lambda t: t.column)]
        return (
            f"nothing is nearer to the {slots['side']} edge than the {look_of(chosen[0])} {where(chosen[0], facts)}"
        )
    if kind.name == "roll":
        chosen = [t for t in facts.things if t.shape == "ball"]
    elif kind.name == "clear row":
        chosen = [
            t
            for t in facts.things
            if slots["row"] in ROWS[facts.style] and ROWS[facts.style][t.row] == slots["row"]
        ]
    elif kind.name == "clear color":
        chosen = [t for t in facts.things if t.color == slots["color"]]
    if not chosen:
        return f"{topic(kind, slots)} gives little to go by"
    names = " and ".join(f"the {look_of(t)} {where(t, facts)}" for t in chosen)
    reason = {
        "roll": "round on every side and would not stay put",
        "clear row": f"what the {slots.get('row')} row holds",
    }
    return f"{names} {'is' if len(chosen) == 1 else 'are'} {reason.get(kind.name, 'what has that color')}"


def finish(text: str, ask: Ask, done: bool = True) -> Said:
    """A reply within the request's bounds: forbidden phrases out, stop strings and the token limit applied."""
    for phrase in ask.bad_words:
        if phrase.strip():
            text = re.sub(rf"(?<!\w){re.escape(phrase.strip())}(?!\w)", "", text, flags=re.IGNORECASE)
    stops = [at for stop in ask.stop if stop and (at := text.find(stop)) >= 0]
    if stops:
        text, done = text[: min(stops)], True
    short = tokens.cut(text, ask.max_tokens)
    if len(short) < len(text):
        return Said(short, "length")
    return Said(text, "stop" if done else "length")
