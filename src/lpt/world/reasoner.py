"""The reasoner: continues a thought after its cue and checks it against the caption, its mental image."""

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from lpt.serving.protocol import Ask, Said
from lpt.world import tokens
from lpt.world.claims import Claim, claim_of, split_cue
from lpt.world.dials import Dials
from lpt.world.grammar import look_of
from lpt.world.hearing import Exam, answer_text, caption, exam
from lpt.world.phrases import (
    AFTERWARDS,
    AGREES,
    AMISS,
    CLOSERS,
    DETAILS,
    DOUBTS,
    DWELLS,
    KEEPS,
    LEAKS,
    LEANS,
    LOOKS,
    LOST,
    RECHECKS,
    SCRATCH,
    STARTS,
    SWITCHES,
)
from lpt.world.scene import Facts
from lpt.world.telling import evidence, finish, topic, where
from lpt.world.words import draw

NO_QUESTION: Final = " there is no question with options that I could settle.</think>"


class Handed(NamedTuple):
    """What is handed to a reasoner: a question, and a turn that it goes on with."""

    put: Exam
    thought: str
    cue: str
    claim: Claim
    scratch: bool
    """It is to think from scratch."""


class Verdict(NamedTuple):
    """What the reasoner will answer, and how it comes to it."""

    option: str
    path: str
    """keeps, switches, clings, strays, scratch or lost."""


class Reasoner:
    """A responder that continues a thought.

    Args:
        dials: How often it verifies rightly, betrays the caption, or never ends.
    """

    def __init__(self, dials: Dials | None = None) -> None:
        self.dials = dials or Dials()

    def __call__(self, ask: Ask, seed: int) -> Said:
        """What follows the prefill: reflection, the end of the thought, an answer."""
        rng, given = drawn(ask, seed), handed(ask)
        if given is None:
            return finish(NO_QUESTION, ask)
        put, thought, cue, claim, _ = given
        facts = caption(ask)
        right = put.kind.solve(facts, put.slots, put.options, False) if facts and put.kind else None
        verdict = judged(given, right, self.dials, rng)
        text = self._reflect(put, facts, claim, cue, verdict, rng, ask.bad_words)
        if ask.prefill is None:
            text = "<think>\n" + text.lstrip()
        elif not (thought or cue) and ask.prefill.endswith(("\n", " ")):
            text = text.lstrip()
        if rng.random() < self.dials.unfinished:
            more = (
                rng.choice(RECHECKS[:3]).format(
                    topic=topic(put.kind, put.slots), evidence="it is still not settled"
                )
                for _ in itertools.count()
            )
            return finish(endless(text, more, ask.max_tokens), ask, done=False)
        ending = f" {rng.choice(AFTERWARDS)}" if rng.random() < 0.4 else ""
        answer = answer_text(stated(verdict, put, self.dials, rng), put, put.format)
        return finish(f"{text} </think>{ending} <answer> {answer} </answer>", ask)

    def _reflect(
        self,
        put: Exam,
        facts: Facts | None,
        claim: Claim,
        cue: str,
        verdict: Verdict,
        rng: random.Random,
        forbidden: tuple[str, ...],
    ) -> str:
        """The continuation up to the end of the thought, 40 to 250 words, with a space at its start."""
        old, new = _inside(claim.option or ""), verdict.option
        about = topic(put.kind, put.slots)
        known = evidence(put.kind, put.slots, facts) if facts and put.kind else f"{about} can only be guessed at"
        if verdict.path in ("strays", "lost", "clings") and verdict.option not in known:
            known = rng.choice(LEANS).format(topic=about, option=_inside(new))
        starts = SCRATCH if verdict.path == "scratch" else LOST if verdict.path == "lost" else STARTS
        lines = [rng.choice(starts).format(topic=about, old=old)]
        leaky = rng.random() < self.dials.leak
        looks = (leaky and betrayals(forbidden)) or LOOKS
        lines.append(rng.choice(looks).format(evidence=known, topic=about))
        if verdict.path == "keeps":
            lines.append(rng.choice(AGREES).format(old=old))
        elif verdict.path in ("switches", "strays"):
            lines.append(rng.choice(AMISS).format(old=old))
        elif verdict.path == "clings":
            lines.append(rng.choice(DOUBTS).format(old=old))
        lines.extend(_details(facts, rng))
        if rng.random() < 0.35:
            lines.append(rng.choice(DWELLS))
        if rng.random() < 0.5:
            lines.append(rng.choice(RECHECKS).format(topic=about, evidence=known))
        said = _named(put, new, rng)
        ends = {"keeps": KEEPS, "clings": KEEPS, "switches": SWITCHES, "strays": SWITCHES}.get(
            verdict.path, CLOSERS
        )
        lines.append(rng.choice(ends).format(new=said, old=old))
        head, *tail = lines
        # After a comma the sentence goes on; after a full stop, or with no cue at all, a new one begins.
        if not cue.endswith(","):
            head = head[:1].upper() + head[1:]
        breaks = ["\n\n" if rng.random() < 0.22 else " " for _ in tail]
        return " " + head + "".join(gap + line for gap, line in zip(breaks, tail, strict=True))


def drawn(ask: Ask, seed: int) -> random.Random:
    """A reasoner's choices: the same for the same words and the same seed."""
    return draw(
        "reasoner",
        seed if ask.temperature > 0 else 0,
        "" if ask.prefill is None else "prefill " + ask.prefill,
        *(turn.text for turn in ask.turns),
    )


def handed(ask: Ask) -> Handed | None:
    """What a request hands over; None where it puts no question."""
    put = exam(ask)
    if put is None:
        return None
    thought, cue = split_cue(ask.prefill or "")
    claim = claim_of(thought, put)
    # To think from scratch is asked for by a turn that opens the thought and says nothing yet. No turn at all,
    # or a cue without a thought, means that the student's words were lost on the way, and that is to show.
    return Handed(put, thought, cue, claim, ask.prefill is not None and not cue and claim.words < 4)


def judged(given: Handed, right: str | None, dials: Dials, rng: random.Random) -> Verdict:
    """Compares the claim with what is `right` by the mental image; None: there it cannot be seen."""
    put, _, cue, claim, scratch = given
    others = [option for option in put.options if option != claim.option]
    guess = rng.choice(put.options)
    toss = rng.random()
    if claim.option is None and scratch:
        return Verdict(right if right and toss < dials.scratch else guess, "scratch")
    if claim.option is None or claim.foreign:
        # A thought about other options, or one that settles on nothing: nothing to hold the image against.
        return Verdict(guess, "lost")
    if right is None:
        return Verdict(claim.option, "keeps") if toss < 0.4 else Verdict(rng.choice(others), "strays")
    # An invitation to think of alternatives is more often taken up, for better and for worse.
    push = 1.4 if invites(cue) else 0.8 if cue.endswith(".") else 1.0
    if right == claim.option:
        if toss < min(1.0, dials.flip_wrong * push):
            return Verdict(rng.choice(others), "strays")
        return Verdict(claim.option, "keeps")
    fix = 1 - (1 - dials.fix) / push if dials.fix < 1 else 1.0
    if toss < max(0.0, fix if dials.fix > 0 else 0.0):
        return Verdict(right, "switches")
    wrong = [option for option in others if option != right]
    return (
        Verdict(claim.option, "clings") if rng.random() < 0.7 or not wrong else Verdict(rng.choice(wrong), "strays")
    )


def invites(cue: str) -> bool:
    """Whether a cue invites one to think of alternatives."""
    return cue.lower().startswith("alternatively")


def betrayals(forbidden: Sequence[str]) -> tuple[str, ...]:
    """The sentences that betray a text, without those that hold a forbidden phrase."""
    words = [word.strip().lower() for word in forbidden if word.strip()]
    return tuple(leak for leak in LEAKS if not any(word in leak.lower() for word in words))


def stated(verdict: Verdict, put: Exam, dials: Dials, rng: random.Random) -> str:
    """The option that is given out as the answer."""
    # Drawn last and only where asked for, so that the words are the same whatever this dial says.
    if dials.inconsistent and rng.random() < dials.inconsistent:
        return rng.choice([option for option in put.options if option != verdict.option])
    return verdict.option


def endless(text: str, more: Iterator[str], most: int) -> str:
    """A thought that turns in circles until the limit; a limit of many thousand tokens is not filled."""
    size, most = tokens.count(text), min(most, 4096)
    while size <= most:
        again = f" {next(more)}"
        text, size = text + again, size + tokens.count(again)
    return text


def _details(facts: Facts | None, rng: random.Random) -> list[str]:
    """Up to four sentences on what else is in the mental image."""
    if not facts or not facts.things:
        return []
    count = rng.choice((0, 1, 1, 2, 2, 3, 4))
    chosen = rng.sample(facts.things, min(count, len(facts.things)))
    return [rng.choice(DETAILS).format(look=look_of(thing), place=where(thing, facts)) for thing in chosen]


def _inside(option: str) -> str:
    """An option in the middle of a sentence: without its capital, unless it is a word in capitals."""
    return option if option[:2].isupper() else option[:1].lower() + option[1:]


def _named(put: Exam, option: str, rng: random.Random) -> str:
    letter = put.letter(option)
    return rng.choice((f"({letter}) {option}", f"{letter}. {option}", f"option {letter}, {option}", f'"{option}"'))
