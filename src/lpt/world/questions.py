"""What can be asked about a scene: stem, four options, answer, type, all computed from facts."""

import random
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from lpt.world.grammar import find, look_of, place_of
from lpt.world.kinds import KINDS, LIGHT_NAMES, PATTERN_NAMES, SHADOW_NAMES, TYPES, Kind, solve
from lpt.world.scene import Facts, Scene, Thing
from lpt.world.words import (
    COLORS,
    COLUMNS,
    GROUNDS,
    NUMBERS,
    PATTERNS,
    PLAIN,
    PLAIN_COLORS,
    RICH,
    ROWS,
    SHAPES,
    SIGN_WORDS,
)


class Question(msgspec.Struct, frozen=True):
    """One multiple-choice question about a scene."""

    stem: str
    options: tuple[str, ...]
    """Four texts, shuffled."""
    answer: str
    """One of them."""
    kind: str
    type: str


# What a generator offers: the stem's slots, the answer, and distractors, the most tempting first.
_Draft = tuple[dict[str, str], str, list[str]]
_Drafter = Callable[[Facts, random.Random], Iterator[_Draft]]


def questions(facts: Facts, rng: random.Random, count: int = 8) -> list[Question]:
    """Up to `count` different questions, spread over the types as far as the facts allow."""
    kinds = list(KINDS)
    rng.shuffle(kinds)
    order = list(TYPES)
    rng.shuffle(order)
    # Kinds are tried only until there are enough: each type in turn gives the next kind that the facts allow.
    piles = [iter([kind for kind in kinds if kind.type == name]) for name in order]
    chosen: list[Question] = []
    while piles and len(chosen) < count:
        pile = piles.pop(0)
        made = next((made for kind in pile if (made := _made(kind, facts, rng))), None)
        if made:
            chosen.append(made)
            piles.append(pile)
    return chosen


def every(facts: Facts, rng: random.Random) -> Iterator[Question]:
    """One question of each kind that the facts allow."""
    for kind in KINDS:
        made = _made(kind, facts, rng)
        if made:
            yield made


def truth(scene: Scene, stem: str, options: tuple[str, ...] | list[str]) -> str | None:
    """The right option's text by what the scene is, None where none is or the question is not of this world."""
    return solve(stem, options, scene.facts)


def _made(kind: Kind, facts: Facts, rng: random.Random) -> Question | None:
    shuffled = msgspec.structs.replace(facts, things=tuple(rng.sample(facts.things, len(facts.things))))
    for slots, answer, distractors in _DRAFTERS[kind.name](shuffled, rng):
        wrong = [text for text in dict.fromkeys(distractors) if text != answer][:3]
        if len(wrong) < 3:
            continue
        options = [_capital(text) for text in (answer, *wrong)]
        rng.shuffle(options)
        if kind.solve(facts, slots, options, False) == _capital(answer):
            stem = kind.stem.say(**slots)
            # The promise that everything else rests on: what is asked here has the answer that is given here.
            assert solve(stem, options, facts) == _capital(answer), stem
            return Question(
                stem=stem, options=tuple(options), answer=_capital(answer), kind=kind.name, type=kind.type
            )
    return None


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _refer(thing: Thing, facts: Facts, without: str, rng: random.Random) -> str:
    """A phrase that means this thing alone and does not tell the look that is asked for."""
    looks = [name for name in ("color", "pattern", "size") if name != without]
    ways = [("shape",), *((look, "shape") for look in looks), (looks[0], looks[-1], "shape")]
    for way in ways if without == "color" else [("color", "shape")]:
        # Size, pattern, color, shape: the order in which English lines adjectives up.
        words = [getattr(thing, name) for name in ("size", "pattern", "color", "shape") if name in way]
        phrase = "the " + " ".join(words)
        if facts.style == PLAIN and {"size", "pattern"} & set(way):
            continue
        if find(facts, phrase) == [thing] and rng.random() < 0.85:
            return phrase
    return "the object " + place_of(facts.style, thing.row, thing.column)


def _near_colors(color: str, facts: Facts) -> list[str]:
    """The colors that this one is most easily taken for."""
    names = tuple(COLORS) if facts.style == RICH else PLAIN_COLORS
    red, green, blue = COLORS[color]
    return sorted(names, key=lambda n: sum(abs(a - b) for a, b in zip(COLORS[n], (red, green, blue), strict=True)))


def _looks(facts: Facts, rng: random.Random, but: Thing | None = None) -> list[str]:
    """Things by their looks: those that are there first, then some that might be."""
    there = [f"the {look_of(thing)}" for thing in facts.things if thing != but]
    rng.shuffle(there)
    colors = list(dict.fromkeys(thing.color for thing in facts.things)) or ["red"]
    made_up = [f"the {rng.choice(colors)} {shape}" for shape in SHAPES[facts.style]]
    rng.shuffle(made_up)
    return there + [text for text in made_up if not find(facts, text)]


def _places(facts: Facts, rng: random.Random, fits: Callable[[Thing], bool]) -> list[str]:
    """Things by their places: those that fit, then some places where nothing stands."""
    there = [thing for thing in facts.things if fits(thing)]
    rng.shuffle(there)
    taken = {(thing.row, thing.column) for thing in facts.things}
    rows, columns = range(len(ROWS[facts.style])), range(len(COLUMNS[facts.style]))
    empty = [(row, column) for row in rows for column in columns if (row, column) not in taken]
    rng.shuffle(empty)
    return [_at(facts, thing.row, thing.column) for thing in there] + [
        _at(facts, row, column) for row, column in empty
    ]


def _at(facts: Facts, row: int, column: int) -> str:
    return f"the object {place_of(facts.style, row, column)}"


def _color(facts: Facts, rng: random.Random) -> Iterator[_Draft]:
    for thing in facts.things:
        yield {"ref": _refer(thing, facts, "color", rng)}, thing.color, _near_colors(thing.color, facts)[1:5]


def _pattern(facts: Facts, rng: random.Random) -> Iterator[_Draft]:
    for thing in facts.things if facts.style == RICH else ():
        yield (
            {"ref": _refer(thing, facts, "pattern", rng)},
            PATTERN_NAMES[thing.pattern],
            list(PATTERN_NAMES.values()),
        )


def _shape(facts: Facts, rng: random.Random) -> Iterator[_Draft]:
    for thing in facts.things:
        others = list(SHAPES[facts.style])
        rng.shuffle(others)
        yield (
            {"place": place_of(facts.style, thing.row, thing.column)},
            f"a {thing.shape}",
            [f"a {s}" for s in others],
        )


def _sign(facts: Facts, rng: random.Random) -> Iterator[_Draft]:
    if facts.sign:
        word = facts.sign.word
        others = [other for other in SIGN_WORDS if other != word]
        rng.shuffle(others)
        # Words of the same length that share letters are the ones to take it for.
        others.sort(
            key=lambda other: (len(other) != len(word), -sum(a == b for a, b in zip(other, word, strict=False)))
        )
        yield {}, word, others


def _ground(facts: Facts, rng: random.Random) -> Iterator[_Draft]:
    if facts.ground:
        others = list(GROUNDS)
        rng.shuffle(others)
        yield {}, facts.ground, others


def _where(facts: Facts, rng: random.Random) -> Iterator[_Draft]:
    rows, columns = len(ROWS[facts.style]), len(COLUMNS[facts.style])
    for thing in facts.things:
        cells = [(row, column) for row in range(rows) for column in range(columns)]
        rng.shuffle(cells)
        cells.sort(key=lambda cell, t=thing: abs(cell[0] - t.row) + abs(cell[1] - t.column))  # type: ignore[misc]
        others = [place_of(facts.style, row, column) for row, column in cells[1:6]]
        rng.shuffle(others)
        ref = f"the {look_of(thing)}"
        yield {"ref": ref}, place_of(facts.style, thing.row, thing.column), others


def _extreme(facts: Facts, rng: random.Random) -> Iterator[_Draft]:
    for side, best in (("left", min), ("right", max)):
        for thing in facts.things[:1] and [best(facts.things, key=lambda t: t.column)]:
            yield {"side": side}, f"the {look_of(thing)}", _looks(facts, rng, thing)


def _compare(facts: Facts, rng: random.Random) -> Iterator[_Draft]:
    deep = ("closer to the viewer", "farther from the viewer")
    flat = ("higher on the page", "lower on the page")
    ways = ("farther to the left", "farther to the right", *(deep if facts.style == RICH else flat))
    for one in facts.things:
        for other in facts.things:
            if one != other:
                ref = f"the {look_of(other)}"
                # Whether the distractors are wrong is for the solver to say: most drafts fall, some stand.
                wrong = [text for text in _looks(facts, rng, one) if text != ref]
                for way in rng.sample(ways, 2):
                    yield {"than": way, "ref": ref}, f"the {look_of(one)}", wrong


def _hiding(facts: Facts, rng: random.Random) -> Iterator[_Draft]:
    for front in facts.things:
        back = facts.hidden_by(front)
        if back:
            ref = f"the {look_of(front)}"
            wrong = [text for text in _looks(facts, rng, back) if text != ref]
            yield {"ref": ref}, f"the {look_of(back)}", wrong


def _numbers(number: int, rng: random.Random) -> list[str]:
    around = [n for n in (number - 1, number + 1, number + 2, number - 2, number + 3) if 0 <= n < len(NUMBERS)][:4]
    rng.shuffle(around)
    return [NUMBERS[n] for n in around]


def _counting(slot: str, values: Callable[[Facts], tuple[str, ...]], of: Callable[[Thing, Facts], str]) -> _Drafter:
    def draft(facts: Facts, rng: random.Random) -> Iterator[_Draft]:
        for value in values(facts):
            number = sum(of(thing, facts) == value for thing in facts.things)
            if number > 1 or rng.random() < 0.3:
                yield {slot: value}, NUMBERS[number], _numbers(number, rng)

    return draft


def _count_flock(facts: Facts, rng: random.Random) -> Iterator[_Draft]:
    if facts.flock:
        yield {"flock": facts.flock.kind}, NUMBERS[facts.flock.count], _numbers(facts.flock.count, rng)


def _light(facts: Facts, rng: random.Random) -> Iterator[_Draft]:
    if facts.light:
        yield {}, LIGHT_NAMES[facts.light], list(LIGHT_NAMES.values())


def _shadow(facts: Facts, rng: random.Random) -> Iterator[_Draft]:
    if facts.light:
        yield {}, SHADOW_NAMES[facts.light], list(SHADOW_NAMES.values())


def _roll(facts: Facts, rng: random.Random) -> Iterator[_Draft]:
    # A ring or a drum might roll, too: only what surely stays is set against a ball.
    for thing in facts.things:
        if thing.shape == "ball":
            stays = _places(facts, rng, lambda other: other.shape in ("cube", "cone", "star"))
            yield {}, _at(facts, thing.row, thing.column), stays


def _sorting(look: str) -> _Drafter:
    def draft(facts: Facts, rng: random.Random) -> Iterator[_Draft]:
        for one in facts.things:
            for other in facts.things:
                if one != other and getattr(one, look) == getattr(other, look):
                    wrong = _places(facts, rng, lambda t, o=one: getattr(t, look) != getattr(o, look))  # type: ignore[misc]
                    yield {"ref": f"the {look_of(one)}"}, _at(facts, other.row, other.column), wrong

    return draft


def _clear_row(facts: Facts, rng: random.Random) -> Iterator[_Draft]:
    for thing in facts.things:
        yield {"row": ROWS[facts.style][thing.row]}, f"the {look_of(thing)}", _looks(facts, rng, thing)


def _clear_color(facts: Facts, rng: random.Random) -> Iterator[_Draft]:
    for thing in facts.things:
        wrong = _places(facts, rng, lambda other, t=thing: other != t)  # type: ignore[misc]
        yield {"color": thing.color}, _at(facts, thing.row, thing.column), wrong


_DRAFTERS: Final[dict[str, _Drafter]] = {
    "color": _color,
    "pattern": _pattern,
    "shape": _shape,
    "sign": _sign,
    "ground": _ground,
    "where": _where,
    "extreme": _extreme,
    "compare": _compare,
    "hidden": _hiding,
    "count shape": _counting("shape", lambda f: SHAPES[f.style], lambda t, f: t.shape),
    "count color": _counting("color", lambda f: tuple({t.color: 0 for t in f.things}), lambda t, f: t.color),
    "count pattern": _counting(
        "pattern", lambda f: PATTERNS[1:] if f.style == RICH else (), lambda t, f: t.pattern
    ),
    "count flock": _count_flock,
    "count row": _counting("row", lambda f: ROWS[f.style], lambda t, f: ROWS[f.style][t.row]),
    "light": _light,
    "shadow": _shadow,
    "roll": _roll,
    "reveal": _hiding,
    "sort shape": _sorting("shape"),
    "sort color": _sorting("color"),
    "clear row": _clear_row,
    "clear color": _clear_color,
}
