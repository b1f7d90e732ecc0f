import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pytest

from lpt.world import tokens
from lpt.world.claims import claim_of, split_cue
from lpt.world.dials import Dials
from lpt.world.hearing import Exam
from lpt.world.reasoner import Reasoner
from lpt.world.scene import Scene, scene
from lpt.world.student import Student
from tests.world.helpers import WORLD, cases, chosen, image, reasoner_ask, student_ask, thought_for

LEAK = re.compile(r"\b(?:descri\w+|caption\w*|mention\w*|stated|text|says)\b", re.IGNORECASE)
CUES = ("Wait,", "Hmm,", "Alternatively,", "Let's double-check the details.")
OPTIONS = ("Red", "Blue", "Green", "Teal")
Table = Counter[tuple[bool, bool]]
EXAM = Exam(OPTIONS, None, {}, "paren")


def outcomes(
    dials: Dials | None = None,
    caption: Callable[[int], Scene | None] = lambda index: scene(WORLD, index),
    rotate: int = 0,
    handed: str | None = "the thought and a cue",
    count: int = 20,
) -> Table:
    """Counts of (claim right, answer right) over claims that are right half of the time."""
    reasoner, table = Reasoner(dials), Table()
    for index, _, question in cases(count):
        wrong = next(option for option in question.options if option != question.answer)
        options = question.options[rotate:] + question.options[:rotate]
        for number, claim in enumerate((question.answer, wrong) * 2):
            prefill = (
                f"{thought_for(claim, question)} {CUES[number]}" if handed == "the thought and a cue" else handed
            )
            text = reasoner(reasoner_ask(question, caption(index), prefill, options=options), number).text
            answer = chosen(text, options)
            if answer:
                table[claim == question.answer, answer == question.answer] += 1
    return table


def rate(table: Table, claim: bool) -> float:
    return table[claim, True] / (table[claim, True] + table[claim, False])


def accuracy(table: Table) -> float:
    return (table[True, True] + table[False, True]) / sum(table.values())


def test_it_puts_wrong_claims_right_and_seldom_spoils_right_ones():
    table = outcomes()
    assert 0.60 < rate(table, False) < 0.80
    assert 0.86 < rate(table, True) < 0.97


def test_the_dials_set_both_rates():
    assert accuracy(outcomes(Dials(fix=1, flip_wrong=0), count=6)) == 1
    table = outcomes(Dials(fix=0, flip_wrong=1), count=6)
    assert table[False, True] == table[True, True] == 0


def test_it_improves_on_the_student():
    student, reasoner, before, after, total = Student(), Reasoner(), 0, 0, 0
    for index, made, question in cases(20):
        thought = student(student_ask(question, (image(index),), stop=("</think>",)), 0).text
        reply = student(student_ask(question, (image(index),)), 0).text
        first = chosen(reply, question.options)
        last = chosen(reasoner(reasoner_ask(question, made, thought + "Wait,"), 0).text, question.options)
        if first and last:
            total, before, after = total + 1, before + (first == question.answer), after + (last == question.answer)
    assert after / total > before / total + 0.12


def test_the_caption_of_another_scene_ruins_it():
    table = outcomes(caption=lambda index: scene(WORLD, index + 1))
    assert rate(table, False) < 0.3
    assert accuracy(table) < 0.45


def test_without_a_caption_nothing_is_put_right_but_by_luck():
    table = outcomes(caption=lambda index: None)
    assert rate(table, False) < 0.35
    assert rate(table, True) < 0.55


@pytest.mark.parametrize("rotate", [1, 2])
def test_options_in_another_order_than_the_thought_had_leave_it_at_chance(rotate):
    assert 0.15 < accuracy(outcomes(rotate=rotate)) < 0.37


def test_a_thought_about_another_question_leaves_it_at_chance():
    reasoner, right, total = Reasoner(), 0, 0
    foreign = '<think> I count the chimneys of the house one by one and get a dozen. That makes it "a dozen".'
    for _, made, question in cases(20):
        for seed in range(2):
            text = reasoner(reasoner_ask(question, made, foreign + " Wait,"), seed).text
            right, total = right + (chosen(text, question.options) == question.answer), total + 1
    assert 0.15 < right / total < 0.36


@pytest.mark.parametrize("handed", [None, "<think>\nWait,", "Wait,"])
def test_a_thought_that_was_lost_on_the_way_leaves_it_at_chance(handed):
    assert 0.15 < accuracy(outcomes(handed=handed)) < 0.36


def test_asked_to_think_from_scratch_it_does_and_is_worse_for_it():
    scratch, checked = accuracy(outcomes(handed="<think>")), accuracy(outcomes())
    assert 0.5 < scratch < checked - 0.04
    _, made, question = next(cases(1))
    assert Reasoner()(reasoner_ask(question, made, None), 0).text.startswith("<think>\n")
    assert "<think>" not in Reasoner()(reasoner_ask(question, made, "<think>\n"), 0).text


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_it_betrays_the_caption_never_or_always_as_dialled(share):
    reasoner = Reasoner(Dials(leak=share))
    for _, made, question in cases(12):
        text = reasoner(reasoner_ask(question, made, thought_for(question.answer, question) + " Hmm,"), 1).text
        assert bool(LEAK.search(text)) == bool(share)


def test_it_fits_its_beginning_to_the_cue():
    for _, made, question in cases(6):
        for cue in CUES:
            text = Reasoner()(
                reasoner_ask(question, made, f"{thought_for(question.answer, question)}\n{cue}"), 0
            ).text
            assert text[0] == " "
            assert text[1].islower() or text.startswith(" I ") if cue.endswith(",") else text[1].isupper()


def test_it_speaks_of_what_the_thought_claimed():
    for _, made, question in cases(6):
        wrong = next(option for option in question.options if option != question.answer)
        text = Reasoner()(reasoner_ask(question, made, thought_for(wrong, question) + " Wait,"), 4).text
        assert wrong.casefold() in text.casefold()


def test_unfinished_thoughts_run_to_the_limit():
    _, made, question = next(cases(1))
    ask = reasoner_ask(question, made, thought_for(question.answer, question) + " Wait,", max_tokens=300)
    said = Reasoner(Dials(unfinished=1))(ask, 0)
    assert "</think>" not in said.text
    assert (tokens.count(said.text), said.finish_reason) == (300, "length")


def test_forbidden_words_are_avoided():
    reasoner = Reasoner(Dials(leak=1, unfinished=0))
    words = ("description", "caption", "described", "stated", "text")
    for _, made, question in cases(8):
        ask = reasoner_ask(question, made, thought_for(question.answer, question) + " Wait,", bad_words=words)
        assert not LEAK.search(reasoner(ask, 0).text)


def test_seeds_vary_the_words_but_not_at_temperature_zero():
    _, made, question = next(cases(1))
    prefill = thought_for(question.answer, question) + " Wait,"
    warm = {Reasoner()(reasoner_ask(question, made, prefill), seed).text for seed in range(12)}
    cold = {Reasoner()(reasoner_ask(question, made, prefill, temperature=0), seed).text for seed in range(12)}
    assert len(warm) > 10
    assert len(cold) == 1


def test_all_roles_say_the_same_in_another_process():
    code = """
import hashlib
from lpt.world import role
from tests.world.helpers import *
from lpt.serving.protocol import Ask, Turn
out = hashlib.sha256()
for index, made, q in cases(1):
    out.update(role("student")(student_ask(q, (image(index),)), 5).text.encode())
    out.update(role("reasoner")(reasoner_ask(q, made, thought_for(q.options[0], q) + " Hmm,"), 5).text.encode())
    out.update(role("asker")(Ask("m", (Turn("user", describe(made)),)), 5).text.encode())
print(out.hexdigest())
"""
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": n, "PYTHONPATH": "."},
            capture_output=True,
            check=True,
        ).stdout
        for n in ("1", "2")
    }
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("thought", "option", "foreign"),
    [
        ("It is (B) Blue. Hence (C) Green.", "Green", False),
        ("- (A) Red: this does not match.\n- (B) Blue: this fits.\n- (C) Green: this seems off.", "Blue", False),
        ('So the answer is "teal".', "Teal", False),
        ("The answer is option B.", "Blue", False),
        ("The best match is (B) Green.", "Green", True),
        ("I see a dog.", None, False),
    ],
)
def test_a_claim_is_read_off_a_thought(thought, option, foreign):
    assert claim_of(thought, EXAM)[:2] == (option, foreign)


@pytest.mark.parametrize("cue", [*CUES, "Hold on, is that so?", "But wait,"])
@pytest.mark.parametrize("joint", [" ", "\n", "\n\n"])
def test_the_cue_is_told_from_the_thought(cue, joint):
    assert split_cue(f"<think>\nI see a cube. It is blue.{joint}{cue}") == ("I see a cube. It is blue.", cue)


def test_a_thought_without_a_cue_stays_whole():
    assert split_cue("<think> I see a cube. So it is (B) Blue.") == ("I see a cube. So it is (B) Blue.", "")
    assert split_cue("<think>\n") == ("", "")
