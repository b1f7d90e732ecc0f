"""The asker and the reasoner for boards: the scenes' ones, with eyes and words for boards.

Both understand captions of boards and no others. All that they say of a board is in `saying`, so that a student
whose tokenizer has those words can say it, too.
"""

import itertools
import random
from typing import Final

from msgspec.structs import replace

from lpt.serving.protocol import Ask, Said
from lpt.world.asker import Asker
from lpt.world.boards import saying, slips
from lpt.world.boards.asking import TRAINED, Stem, question, recognise, solve
from lpt.world.boards.asking import Question as Asked
from lpt.world.boards.board import CELLS, Board
from lpt.world.boards.talk import read
from lpt.world.dials import Dials
from lpt.world.hearing import answer_text, told
from lpt.world.kinds import COUNTING, RECOGNITION, SPATIAL
from lpt.world.questions import Question
from lpt.world.reasoner import (
    NO_QUESTION,
    Handed,
    Verdict,
    betrayals,
    drawn,
    endless,
    handed,
    invites,
    judged,
    stated,
)
from lpt.world.telling import finish

CONFIRMS: Final = 0.7
"""How often a thought that no cue interrupts is simply confirmed, without another look."""
_TYPES: Final = {"cell": RECOGNITION, "follow": SPATIAL, "when": SPATIAL, "count": COUNTING}
_TRIES: Final = 20
"""For each question: a board has few that are of one kind."""


class BoardAsker(Asker):
    """A responder that writes multiple-choice questions about boards; the dials are the other asker's."""

    def _write(self, ask: Ask, rng: random.Random) -> list[Question]:
        board = told(ask, read)
        return questions(board, rng, self.dials.questions) if board else []


class BoardReasoner:
    """A responder that continues a thought about a board.

    From scratch it is right as often as it puts a wrong claim right (`fix`), so that a run with the student's words
    and one without them differ in those words alone; the dial `scratch` is not read.

    Args:
        dials: How often it verifies rightly, betrays the caption, or never ends.
    """

    def __init__(self, dials: Dials | None = None) -> None:
        dials = dials or Dials()
        self.dials = replace(dials, scratch=dials.fix)

    def __call__(self, ask: Ask, seed: int) -> Said:
        """What follows the prefill: a second look, the end of the thought, an answer."""
        rng, given = drawn(ask, seed), handed(ask)
        if given is None:
            return finish(NO_QUESTION, ask)
        put, board, stem = given.put, told(ask, read), recognise(given.put.text)
        right = _right(board, stem, put.options) if board and stem else None
        verdict = judged(given, right, self.dials, rng)
        look = ""
        if given.claim.option and not given.cue and rng.random() < CONFIRMS:
            verdict = Verdict(given.claim.option, "keeps")
        elif board and stem and right and verdict.path != "lost":
            wrong = verdict.option != right
            look = slips.astray(board, stem, verdict.option, rng) if wrong else saying.walk(board, stem)
        betrayed = self._betray(board, ask, given.cue, rng) if board else ""
        end = f"{saying.verdict(given.claim.option or '', verdict.option)}."
        text = " ".join(["", *filter(None, [betrayed, _other(given, rng), look, end])])
        if ask.prefill is None:
            text = f"<think>{text}"
        elif not (given.thought or given.cue) and ask.prefill.endswith(("\n", " ")):
            text = text.lstrip()
        if rng.random() < self.dials.unfinished:
            return finish(endless(text, itertools.repeat(look or end), ask.max_tokens), ask, done=False)
        answer = answer_text(stated(verdict, put, self.dials, rng), put, put.format)
        return finish(f"{text} </think> <answer> {answer} </answer>", ask)

    def _betray(self, board: Board, ask: Ask, cue: str, rng: random.Random) -> str:
        """A sentence that betrays a text, or none. It comes first: what is taken back, is taken back to the cue."""
        leaks = betrayals(ask.bad_words)
        if not leaks or rng.random() >= self.dials.leak:
            return ""
        leak = rng.choice(leaks).format(evidence=saying.held(board, rng.randrange(len(CELLS))))
        return leak[:1].lower() + leak[1:] if cue.endswith(",") else leak


def questions(board: Board, rng: random.Random, count: int) -> list[Question]:
    """Up to `count` different questions about a board, the kinds in turn."""
    found: dict[Stem, Asked] = {}
    for kind in itertools.islice(itertools.cycle(TRAINED), _TRIES * count):
        if len(found) == count:
            break
        made = question(board, kind, rng)
        assert made.answer == _right(board, recognise(str(made.stem)), made.options)
        found.setdefault(made.stem, made)
    return [
        Question(str(stem), made.options, made.answer, stem.kind, _TYPES[stem.kind]) for stem, made in found.items()
    ]


def _right(board: Board, stem: Stem | None, options: tuple[str, ...]) -> str | None:
    """The right option; None where the board does not say, or says something that is none of them."""
    answer = solve(board, stem) if stem else None
    return answer if answer in options else None


def _other(given: Handed, rng: random.Random) -> str:
    """Another option than the claimed one, where the cue asks for alternatives."""
    if not invites(given.cue) or not given.claim.option:
        return ""
    return saying.maybe(rng.choice([option for option in given.put.options if option != given.claim.option]))
