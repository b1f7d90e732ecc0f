import json
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from lpt.serving.protocol import Ask, Turn
from lpt.world.boards.asking import recognise, solve
from lpt.world.boards.board import CELLS, COLORS, MOVES, Board, board
from lpt.world.boards.roles import BoardAsker, BoardReasoner, questions
from lpt.world.boards.saying import glance
from lpt.world.boards.talk import caption, read
from lpt.world.dials import Dials
from lpt.world.questions import Question
from lpt.world.roles import role
from tests.world.helpers import chosen
from tests.world.looks import by_hand, false

CUES = ("Wait,", "Hmm,", "Alternatively,")
QUIET = Dials(leak=0, unfinished=0)
PHRASES = "to is maybe So it Yes Not </think> <answer> </answer>"
SAID = {*COLORS, *CELLS, *MOVES, *PHRASES.split(), *map(str, range(5))}


_TYPES = {"cell": "Recognition", "follow": "Spatial", "when": "Spatial", "count": "Counting"}


def asks_for(of: Board, **more: Any) -> Ask:
    return Ask("m", (Turn("user", f"Four questions each about this board, please.\n{caption(of)}"),), **more)


def put(question: Question, of: Board | None, prefill: str | None, **more: Any) -> Ask:
    lines = [f"({letter}) {text}" for letter, text in zip("ABCD", question.options, strict=True)]
    seen = f"Picture this: {caption(of)}" if of else "You have no picture."
    text = "\n".join([seen, question.stem, *lines, "Give your answer as the full text of the option you choose."])
    return Ask("m", (Turn("user", text),), prefill=prefill, **more)


def cases(count: int) -> Iterator[tuple[Board, Question]]:
    for index in range(count):
        of = board(random.Random(index))
        for question in questions(of, random.Random(index), 6):
            yield of, question


def handed(question: Question, claim: str, cue: str) -> str:
    stem = recognise(question.stem)
    assert stem
    return f"<think> {glance(stem, claim)} {cue}".rstrip()


def wrong(question: Question) -> str:
    return next(option for option in question.options if option != question.answer)


def accuracy(
    reasoner: BoardReasoner, *, right: bool, cue: str = "Wait,", told: bool = True, count: int = 60, shift: int = 0
) -> float:
    """How often it ends on the right answer, after claims that are all right or all wrong."""
    good = total = 0
    for index, (of, question) in enumerate(cases(count)):
        claim = question.answer if right else wrong(question)
        seen = board(random.Random(10_000 + index)) if shift else of
        ask = put(question, seen if told else None, handed(question, claim, cue))
        answer = chosen(reasoner(ask, index).text, question.options)
        total, good = total + 1, good + (answer == question.answer)
    return good / total


# --- the asker ---------------------------------------------------------------------------------------------------


def test_the_asker_answers_by_schema_and_in_tags():
    of = board(random.Random(5))
    schema = {"type": "object", "properties": {"questions": {"type": "array", "items": {}}}}
    made = json.loads(BoardAsker(Dials(invalid=0, wrong_answer=0))(asks_for(of, schema=schema), 1).text)[
        "questions"
    ]
    assert len(made) == Dials().questions
    for one in made:
        stem = recognise(one["question"])
        assert stem
        assert one["answer"] == by_hand(of, one["question"])
        assert one["answer"] in one["options"]
        assert one["type"].split()[0] == _TYPES[stem.kind]
    tagged = BoardAsker(Dials(questions=3))(asks_for(of), 1).text
    assert tagged.count("<question>") == tagged.count("<choices> (A) ") == 3


def test_it_marks_a_wrong_answer_as_often_as_dialled():
    asker, marked, good = BoardAsker(Dials(wrong_answer=0.3, invalid=0)), 0, 0
    for seed in range(60):
        of = board(random.Random(seed))
        for stem, answer in re.findall(
            r"<question> (.*?) </question>.*<answer> (.*?) </answer>", asker(asks_for(of), seed).text
        ):
            known = recognise(stem)
            assert known
            marked, good = marked + 1, good + (answer == solve(of, known))
    assert 0.62 < good / marked < 0.78


def test_without_a_board_nothing_is_asked():
    assert "<question>" not in BoardAsker()(Ask("m", (Turn("user", "A cat on a sofa. a1 red right."),)), 0).text


# --- the reasoner ------------------------------------------------------------------------------------------------


def test_it_puts_wrong_claims_right_and_seldom_spoils_right_ones():
    assert 0.63 < accuracy(BoardReasoner(QUIET), right=False) < 0.77
    assert 0.88 < accuracy(BoardReasoner(QUIET), right=True) < 0.96


def test_the_dials_set_both_rates():
    best = Dials(fix=1, flip_wrong=0, leak=0, unfinished=0)
    worst = Dials(fix=0, flip_wrong=1, leak=0, unfinished=0)
    for right in (True, False):
        assert accuracy(BoardReasoner(best), right=right, count=10) == 1
        assert accuracy(BoardReasoner(worst), right=right, count=10) == 0


@pytest.mark.parametrize("told", [True, False])
def test_the_wrong_board_or_none_ruins_it(told: bool):
    assert accuracy(BoardReasoner(QUIET), right=False, told=told, shift=1) < 0.4


def test_its_look_is_as_good_as_its_end_and_it_says_nothing_else():
    for index, (of, question) in enumerate(cases(30)):
        for cue in CUES:
            claim = question.options[index % 4]
            ask = put(question, of, handed(question, claim, cue))
            said = BoardReasoner(QUIET)(ask, index)
            assert said == BoardReasoner(QUIET)(ask, index)
            assert said.text[0] == " "
            assert {word.rstrip(".,") or word for word in said.text.split()} <= SAID
            answer = chosen(said.text, question.options)
            body = said.text.split(" </think>")[0]
            look, _, end = re.sub(r"maybe \w+\.", "", body).rpartition(". ")
            stem = recognise(question.stem)
            assert stem
            assert bool(false(of, stem, look + ".")) == (answer != question.answer)
            assert look.split()[-1] == answer
            assert end == (f"Yes, it is {answer}." if answer == claim else f"Not {claim}, it is {answer}.")


def test_another_seed_says_something_else_and_temperature_0_does_not():
    of, question = next(cases(1))
    ask = put(question, of, handed(question, wrong(question), "Alternatively,"))
    assert len({BoardReasoner(QUIET)(ask, seed).text for seed in range(20)}) > 2
    cold = put(question, of, handed(question, wrong(question), "Alternatively,"), temperature=0.0)
    assert len({BoardReasoner(QUIET)(cold, seed).text for seed in range(20)}) == 1


def test_cues_make_the_difference():
    looks = dict.fromkeys(("", *CUES), 0)
    for index, (of, question) in enumerate(cases(30)):
        for cue in looks:
            claim = wrong(question)
            text = BoardReasoner(QUIET)(put(question, of, handed(question, claim, cue)), index).text
            looks[cue] += bool(re.search(r"\b[a-d][1-4]\b", text))
            another = re.match(r" maybe (\w+)\. ", text)
            assert bool(another) == (cue == "Alternatively,")
            assert another is None or another[1] in set(question.options) - {claim}
    assert looks["Wait,"] == looks["Hmm,"] == looks["Alternatively,"] > 170
    assert 0.2 < looks[""] / looks["Wait,"] < 0.4
    assert accuracy(BoardReasoner(QUIET), right=False, cue="") < 0.3


def test_from_scratch_it_is_right_as_often_as_it_puts_right():
    def share(prefill: str | None, dials: Dials) -> float:
        texts = [
            (question, BoardReasoner(dials)(put(question, of, prefill), index).text)
            for index, (of, question) in enumerate(cases(60))
        ]
        assert all((text.startswith("<think>")) == (prefill is None) for _, text in texts)
        assert all(re.search(r"So it is \w+\. </think>", text) for _, text in texts)
        return sum(chosen(text, question.options) == question.answer for question, text in texts) / len(texts)

    # A guess of four is right once in four.
    assert 0.7 < share("<think>", QUIET) < 0.85
    assert share("<think>", Dials(fix=1, leak=0, unfinished=0)) == 1
    assert share(None, QUIET) < 0.36
    assert share("<think> Wait,", QUIET) < 0.36


def test_it_betrays_a_text_as_dialled_and_first_of_all():
    of, question = next(cases(1))
    ask = put(question, of, handed(question, question.answer, "Wait,"))
    for seed in range(20):
        text = BoardReasoner(Dials(leak=1, unfinished=0))(ask, seed).text
        leak = text.split(". ")[0]
        assert re.search(r"descri|caption|stated|text", leak)
        assert leak[1].islower()
        assert not re.search(r"descri|caption|stated|text", text.removeprefix(leak))
    forbidding = put(
        question, of, ask.prefill, bad_words=("description", "caption", "described", "stated", "text says")
    )
    assert not re.search("description|caption", BoardReasoner(Dials(leak=1))(forbidding, 0).text)


def test_what_never_ends_runs_into_the_limit():
    of, question = next(cases(1))
    ask = put(question, of, handed(question, wrong(question), "Wait,"), max_tokens=100)
    said = BoardReasoner(Dials(unfinished=1, leak=0))(ask, 0)
    assert said.finish_reason == "length"
    assert "</think>" not in said.text


def test_both_are_served_by_name_and_know_boards_alone():
    of, question = next(cases(1))
    assert role("board-asker")(asks_for(of), 3) == BoardAsker()(asks_for(of), 3)
    ask = put(question, of, handed(question, question.answer, "Wait,"))
    assert role("board-reasoner", QUIET)(ask, 3) == BoardReasoner(QUIET)(ask, 3)
    assert "no question" in BoardReasoner()(asks_for(of), 0).text
    assert read(caption(of)) == of
