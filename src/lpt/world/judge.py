"""The judge: reads a text and the options in its prompt and names the option that the text comes to."""

import random
import re
from typing import Final

import msgspec

from lpt.serving.protocol import Ask, Said
from lpt.world.claims import claim_of
from lpt.world.dials import Dials
from lpt.world.hearing import Exam, answer_text, exam
from lpt.world.telling import finish
from lpt.world.words import draw

_PASSAGE: Final = re.compile(r"<(\w+)>(.*?)</\1>", re.DOTALL)
_SENTENCE_END: Final = re.compile(r"(?<![\s(\"][A-J]\.)(?<=[.!?])[\"”]?\s+")
_ASIDE: Final = re.compile(r"\b(?:instead of|rather than|and not|but not)\b", re.IGNORECASE)
_NEITHER: Final = re.compile(r"\b(?:none|neither|no option|not settle|unclear|undecided)\b", re.IGNORECASE)


class Judge:
    """A responder that says which option a text settles on. It goes by the text's last word, not by any truth.

    Args:
        dials: How often it misreads.
    """

    def __init__(self, dials: Dials | None = None) -> None:
        self.dials = dials or Dials()

    def __call__(self, ask: Ask, seed: int) -> Said:
        """An answer in answer tags; the option that stands for "none" where the text settles on nothing."""
        rng = draw("judge", seed if ask.temperature > 0 else 0, *(turn.text for turn in ask.turns))
        passage, rest = _passage(ask)
        put = exam(rest)
        if put is None or not passage or rng.random() < self.dials.judge_unparsed:
            return finish("I cannot tell what I am to judge here.", ask)
        found = settles_on(passage, put) or self._none(put, rng)
        if rng.random() < self.dials.judge_wrong:
            found = rng.choice([option for option in put.options if option != found])
        return finish(f"<answer> {answer_text(found, put, put.format)} </answer>", ask)

    def _none(self, put: Exam, rng: random.Random) -> str:
        return next((option for option in put.options if _NEITHER.search(option)), rng.choice(put.options))


def settles_on(text: str, put: Exam) -> str | None:
    """The option that a text names last, what it sets aside ("instead of …") left out; None where it names none."""
    for sentence in reversed(_SENTENCE_END.split(text)):
        claim = claim_of(_ASIDE.split(sentence, maxsplit=1)[0], put)
        if claim.option is not None:
            return claim.option
    return None


def _passage(ask: Ask) -> tuple[str, Ask]:
    """The longest passage between a pair of tags, and the request without it.

    What is to be judged may hold lettered options of its own, so it goes before the question is looked for.
    """
    found = [match for turn in ask.turns for match in _PASSAGE.finditer(turn.text)]
    if not found:
        return "", ask
    longest = max(found, key=lambda match: len(match[2]))
    turns = tuple(msgspec.structs.replace(turn, text=turn.text.replace(longest[0], "")) for turn in ask.turns)
    return longest[2].strip(), msgspec.structs.replace(ask, turns=turns)
