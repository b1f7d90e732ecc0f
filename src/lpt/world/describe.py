"""Scene → dense caption: every fact, in several sentences of varied words."""

from typing import Final

from lpt.world.grammar import Sentence, full_look, look_of, place_of
from lpt.world.scene import Facts, Scene
from lpt.world.words import BACKDROPS, COLUMNS, NUMBERS, PLAIN, RICH, ROWS, article, draw

OPENINGS: Final = {
    RICH: tuple(
        Sentence(text)
        for text in (
            "an eye-level view of {count} objects arranged on {ground}.",
            "a bright still life shows {count} objects resting on {ground}.",
            "a medium view of {count} toy-like objects standing on {ground}.",
            "this picture shows {count} simple objects set out on {ground}.",
        )
    ),
    PLAIN: tuple(
        Sentence(text)
        for text in (
            "a flat drawing of {count} shapes on a pale page.",
            "{count} flat shapes are laid out on a pale page.",
            "a simple diagram with {count} colored shapes on a pale page.",
        )
    ),
}
THINGS: Final = tuple(
    Sentence(text)
    for text in (
        "there is {thing} {place}.",
        "{thing} can be seen {place}.",
        "{thing} sits {place}.",
        "one finds {thing} {place}.",
    )
)
LIGHTS: Final = {
    "left": "the light comes from the left, and soft shadows stretch to the right.",
    "right": "the light comes from the right, and soft shadows stretch to the left.",
    "above": "the light comes from above, so the shadows lie right beneath the objects.",
    "behind": "the light comes from behind the objects, and their shadows fall toward the viewer.",
}
LIT: Final = {light: Sentence(text) for light, text in LIGHTS.items()}
SIGNS: Final = tuple(
    Sentence(text)
    for text in (
        'a {signcolor} sign on a post at the {column} of the back row reads "{word}".',
        'at the {column} of the back row stands a {signcolor} sign with the word "{word}" on it.',
    )
)
FLOCKED: Final = tuple(
    Sentence(text)
    for text in (
        "{count} {flock} can be counted in the upper part of the picture.",
        "in the upper part of the picture there are {count} {flock}.",
    )
)
# What follows adds nothing that could not be worked out; dense captions repeat themselves, and so do these.
_HIDING: Final = (
    "The {front} partly hides the {back} behind it.",
    "Part of the {back} is covered by the {front} in front of it.",
)
_BACKDROP: Final = ("Behind them is {backdrop}.", "The background is {backdrop}.")


def describe(scene: Scene) -> str:
    """The caption of a scene: one paragraph, 60 to 200 words (rich), always the same for the same scene."""
    return tell(scene.facts, "caption", scene.seed, scene.index)


def tell(facts: Facts, *salt: object) -> str:
    """A caption of some facts, its words and order drawn from the salt."""
    rng = draw(*salt)
    opening = rng.choice(OPENINGS[facts.style])
    slots = {"count": NUMBERS[len(facts.things)]}
    if facts.style == PLAIN:
        lines = [opening.say(**slots)]
    else:
        lines = [opening.say(**slots, ground=str(facts.ground))]
        lines.append(rng.choice(_BACKDROP).format(backdrop=BACKDROPS[str(facts.ground)]))
    things = list(facts.things)
    rng.shuffle(things)
    for thing in things:
        phrase = article(full_look(thing, facts.style, with_tail=rng.random() < 0.5))
        lines.append(
            rng.choice(THINGS).say(thing=phrase, place=_place(facts.style, thing.row, thing.column, rng.random()))
        )
        hidden = facts.hidden_by(thing)
        if hidden:
            lines.append(rng.choice(_HIDING).format(front=look_of(thing), back=look_of(hidden)))
    if facts.sign:
        sign = facts.sign
        where = COLUMNS[RICH][sign.column]
        lines.append(rng.choice(SIGNS).say(signcolor=sign.color, column=where, word=sign.word))
    if facts.flock:
        lines.append(rng.choice(FLOCKED).say(count=NUMBERS[facts.flock.count], flock=facts.flock.kind))
    if facts.light:
        lines.append(LIT[facts.light].say())
    return " ".join(lines)


def _place(style: str, row: int, column: int, toss: float) -> str:
    if toss < 0.6:
        return place_of(style, row, column)
    return f"in the {ROWS[style][row]} row, at the {COLUMNS[style][column]}"
