"""The judge goes by a text's last word; the expert sees more; the dials make what the filters are there to find."""

import json
from collections import Counter

import pytest

from lpt.serving.protocol import Ask, Turn
from lpt.world.asker import Asker
from lpt.world.describe import describe
from lpt.world.dials import Dials
from lpt.world.hearing import exam
from lpt.world.judge import Judge, settles_on
from lpt.world.reasoner import Reasoner
from lpt.world.scene import scene
from lpt.world.student import Expert, Student
from tests.world.helpers import WORLD, cases, chosen, image, put, reasoner_ask, student_ask, thought_for

SURE = Dials(judge_wrong=0.0, judge_unparsed=0.0)
CLEAN = Dials(unparsed=0.0, stray_format=0.0)
OPTIONS = ("Two", "Three", "Four")
NONE = "It comes to none of these, or stays undecided"


def shown(text: str, options: tuple[str, ...] = (*OPTIONS, NONE), **more) -> Ask:
    lines = "\n".join(f"({letter}) {option}" for letter, option in zip("ABCDEF", options, strict=False))
    question = f"How many balls are there?\n{lines}\nWrite (X) in <answer> </answer>."
    words = f"Which one?\n{question}\n<note>\n{text}\n</note>\nSay it."
    return Ask("m", (Turn("user", words),), **{"temperature": 0.7, **more})


def verdict(text: str, dials: Dials = SURE, seed: int = 0, **more) -> str | None:
    return chosen(Judge(dials)(shown(text, **more), seed).text, (*OPTIONS, NONE))


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("At first I say (A) Two. Wait, there is one more. So it is (B) Three.", "Three"),
        ("I count two. Hmm, no. Therefore I change my answer to (C) Four instead of two.", "Four"),
        ('Maybe (A) Two.\n\nGoing over it again: four of them. That makes "Four" the right choice.', "Four"),
        ("(A) Two: this does not fit.\n(B) Three: this fits.\nThe answer remains B. Three.", "Three"),
        ("I look at the picture and see nothing that bears on this.", NONE),
    ],
)
def test_the_last_word_counts(text: str, option: str):
    assert verdict(text) == option


def test_it_reads_whatever_the_reasoner_writes():
    """What the reasoner answers is what its thought comes to, and the judge finds that in its words alone."""
    agreed = asked = 0
    for index, made, question in cases(12):
        for wrong, option in enumerate(question.options[:2]):
            request = reasoner_ask(question, made, thought_for(option, question) + "\nWait,")
            said = Reasoner(Dials(unfinished=0.0))(request, 10 * index + wrong).text
            thought, _, rest = said.partition("</think>")
            text = f"{put(question)}\n<text>\n{thought_for(option, question)}\nWait,{thought}\n</text>"
            found = Judge(SURE)(Ask("m", (Turn("user", text),), temperature=0.0), 0).text
            asked += 1
            agreed += chosen(found, question.options) == chosen(rest, question.options)
    assert agreed >= 0.97 * asked


def test_its_dials_are_how_often_it_errs():
    def share(dials: Dials, option: str | None) -> float:
        found = Counter(verdict("So it is (B) Three.", dials, seed) for seed in range(600))
        return found[option] / 600

    assert share(SURE, "Three") == 1
    assert 0.14 < 1 - share(Dials(judge_wrong=0.2, judge_unparsed=0.0), "Three") < 0.26
    assert 0.06 < share(Dials(judge_wrong=0.0, judge_unparsed=0.1), None) < 0.14


def test_the_same_request_and_seed_say_the_same():
    request = shown("So it is (B) Three.")
    wild = Judge(Dials(judge_wrong=0.5))
    assert [wild(request, seed) for seed in range(20)] == [wild(request, seed) for seed in range(20)]
    cold = shown("So it is (B) Three.", temperature=0.0)
    assert len({wild(cold, seed).text for seed in range(20)}) == 1


def test_without_a_text_or_options_it_says_so():
    assert "answer>" not in Judge(SURE)(Ask("m", (Turn("user", "What now?"),)), 0).text
    assert "answer>" not in Judge(SURE)(Ask("m", (Turn("user", "Which?\n(A) Two\n(B) One"),)), 0).text


def test_options_within_the_text_are_not_mistaken_for_the_question():
    text = "Checking each option:\n(A) Apples: no.\n(B) Pears: no.\nSo I stay with (C) Four."
    assert verdict(text) == "Four"
    put_ = exam(Ask("m", (Turn("user", put(next(iter(cases(1)))[2])),)))
    assert put_
    assert settles_on("nothing here", put_) is None


def test_an_inconsistent_reasoner_keeps_its_words_and_changes_its_answer():
    changed = asked = 0
    for index, made, question in cases(8):
        request = reasoner_ask(question, made, thought_for(question.answer, question) + "\nHmm,")
        calm = Reasoner(Dials(unfinished=0.0))(request, index).text
        rash = Reasoner(Dials(unfinished=0.0, inconsistent=0.4))(request, index).text
        assert calm.partition("</think>")[0] == rash.partition("</think>")[0]
        asked += 1
        changed += chosen(calm, question.options) != chosen(rash, question.options)
    assert 0.2 < changed / asked < 0.6


def test_an_expert_is_right_more_often_than_a_student():
    right: Counter[str] = Counter()
    asked = 0
    for index, _, question in cases(14):
        request = student_ask(question, (image(index),))
        for who in (Student, Expert):
            right[who.__name__] += chosen(who(CLEAN)(request, 5).text, question.options) == question.answer
        asked += 1
    assert right["Expert"] >= right["Student"] + 0.05 * asked
    assert right["Expert"] > 0.68 * asked


def test_an_expert_without_an_image_is_no_better_than_chance():
    found = [chosen(Expert(CLEAN)(student_ask(q, ()), i).text, q.options) == q.answer for i, _, q in cases(25)]
    assert 0.15 < sum(found) / len(found) < 0.35


def asked(dials: Dials, index: int) -> list[dict[str, str]]:
    schema = {"type": "object", "properties": {"questions": {"type": "array", "items": {}}}}
    text = f'"{describe(scene(WORLD, index))}"'
    said = Asker(dials)(Ask("m", (Turn("user", text),), schema=schema, temperature=0.7), 3).text
    made: list[dict[str, str]] = json.loads(said)["questions"]
    return made


def test_a_giveaway_can_be_answered_without_the_image():
    blind: Counter[tuple[bool, bool]] = Counter()
    for index in range(12):
        for item in asked(Dials(giveaway=0.5, wrong_answer=0.0, invalid=0.0), index):
            options = tuple(item["options"])
            given = item["answer"].endswith(".")
            assert sum(option.endswith(".") for option in options) == given
            lines = "\n".join(f"({letter}) {text}" for letter, text in zip("ABCD", options, strict=True))
            ask = Ask("m", (Turn("user", f"{item['question']}\n{lines}"),), temperature=0.7)
            blind[given, chosen(Student(CLEAN)(ask, index).text, options) == item["answer"]] += 1
    assert blind[True, True] > 0.85 * (blind[True, True] + blind[True, False])
    assert blind[False, True] < 0.45 * (blind[False, True] + blind[False, False])


def test_a_dial_at_rest_changes_nothing():
    assert asked(Dials(), 1) == asked(Dials(giveaway=0.0), 1)
    assert not any(option.endswith(".") for item in asked(Dials(), 1) for option in item["options"])
