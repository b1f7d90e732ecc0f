"""Stage 1: whatever form a reply has, sound questions come out of it, and the rest is counted."""

import json
import time
from typing import Any

import pytest

from lpt.models.base import Choice, Request
from lpt.records import Caption, Drop, Question
from lpt.settings import AskSettings, ThinkSettings
from lpt.synthesis.ask import Asked, ask, check, kind, read
from tests.scripted import Scripted, caption

SHOWN = ThinkSettings(model="student")
CAR: dict[str, Any] = {
    "question": "What colour is the car?",
    "options": ["red", "blue", "green", "white"],
    "answer": "blue",
    "type": "recognition",
}
DOG: dict[str, Any] = {
    "question": "How many dogs are there?",
    "options": ["1", "2", "3", "4"],
    "answer": "3",
    "type": "counting",
}


def as_json(*items: Any) -> str:
    return json.dumps({"questions": items})


def tagged(item: dict[str, Any], between: str = " ") -> str:
    options = between.join(f"({letter}) {option}" for letter, option in zip("ABCD", item["options"], strict=True))
    return (
        f"<question> {item['question']} </question> <choices> {options} </choices> "
        f"<answer> {item['answer']} </answer> <type> {item['type']} </type>"
    )


async def asked(
    says: Any, *, settings: AskSettings | None = None, of: Caption | None = None
) -> tuple[list[Question], list[Drop], list[Request]]:
    model = Scripted(says)
    settings = settings or AskSettings(model="asker")
    questions, drops = await ask(model, of or caption(), settings, SHOWN, "be good", seed=0, rank=5)
    return questions, drops, model.requests


def stems(questions: list[Question]) -> list[str]:
    return [question.stem for question in questions]


async def test_questions_are_read_checked_and_shown() -> None:
    questions, drops, (request,) = await asked(lambda _r, _i: Choice(text=as_json(CAR, DOG), key="ledger-key"))
    assert drops == []
    car, dog = questions
    assert (car.stem, car.answer_text, car.kind, car.index) == ("What colour is the car?", "blue", "recognition", 0)
    assert (dog.answer_text, dog.kind, dog.index) == ("3", "counting", 1)
    assert (car.caption, car.image, car.split) == (caption().id, caption().image, "train")
    assert (car.system, car.reply) == ("be good", "ledger-key")
    assert car.prompt.startswith("What colour is the car?\n")
    assert (request.stage, request.record, request.rank, request.affinity) == (
        "ask",
        caption().id,
        5,
        caption().image,
    )
    assert caption().text in request.messages[0].text
    assert "Write 8 multiple-choice" in request.messages[0].text
    assert request.schema
    assert request.sampling.temperature == 0.7
    assert request.messages[0].images == (), "the asker reads, it does not see"


@pytest.mark.parametrize(
    "reply",
    [
        as_json(CAR, DOG),
        f"Here you are:\n```json\n{json.dumps({'questions': [CAR, DOG]}, indent=2)}\n```\nGood luck!",
        json.dumps([CAR, DOG]),
        f"{json.dumps(CAR)}\n{json.dumps(DOG)}",
        f'<think>{{"questions": [{json.dumps({**CAR, "question": "A draft?"})}]}}</think>{as_json(CAR, DOG)}',
        as_json(CAR, DOG, {**CAR, "question": "Cut off?"})[:-40],
        as_json(CAR, DOG).replace("What colour", "What\tcolour".replace("\t", " ")),
        f"1. {tagged(CAR)}\n\n2. {tagged(DOG)}",
        f"{tagged(CAR, chr(10))}{tagged(DOG, chr(10))}",
        f"{tagged(CAR)} {tagged(DOG)} <question> What was the",
        as_json({**CAR, "options": "(A) red (B) blue (C) green (D) white"}, DOG),
        as_json({**CAR, "options": {"A": "red", "B": "blue", "C": "green", "D": "white"}}, DOG),
        as_json({**CAR, "options": ["(A) red", "(B) blue", "(C) green", "(D) white"]}, DOG),
        as_json({**CAR, "options": ["A. red", "B. blue", "C. green", "D. white"]}, DOG),
        as_json({"choices" if key == "options" else key: value for key, value in CAR.items()}, DOG),
        as_json(CAR, {**DOG, "options": [1, 2, 3, 4], "answer": 3}),
    ],
)
async def test_all_forms_of_a_reply_are_understood(reply: str) -> None:
    questions, drops, requests = await asked(reply)
    assert stems(questions) == ["What colour is the car?", "How many dogs are there?"]
    assert [sorted(q.options) for q in questions] == [["blue", "green", "red", "white"], ["1", "2", "3", "4"]]
    assert [q.answer_text for q in questions] == ["blue", "3"]
    assert len(requests) == 1
    assert drops == []


@pytest.mark.parametrize("answer", ["B", "(B)", "B.", "b)", "blue", "Blue.", "(B) blue", "B. blue", "Option B"])
@pytest.mark.parametrize("form", [as_json, tagged], ids=["json", "tagged"])
async def test_an_answer_is_a_letter_a_text_or_both(answer: str, form: Any) -> None:
    questions, _, _ = await asked(form({**CAR, "answer": answer}))
    assert [q.answer_text for q in questions] == ["blue"]


@pytest.mark.parametrize(
    "options",
    [
        {"B": "blue", "D": "white", "A": "red", "C": "green"},
        ["(B) blue", "(D) white", "(A) red", "(C) green"],
    ],
)
async def test_letters_mean_what_they_are_written_beside_whatever_their_order(options: Any) -> None:
    questions, _, _ = await asked(as_json({**CAR, "options": options, "answer": "B"}))
    assert [q.answer_text for q in questions] == ["blue"]
    assert sorted(questions[0].options) == ["blue", "green", "red", "white"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"question": ""}, "no-stem"),
        ({"question": None}, "no-stem"),
        ({"options": ["red", "blue", "green"]}, "not-four-options"),
        ({"options": ["red", "blue", "green", "white", "black"]}, "not-four-options"),
        ({"options": None}, "not-four-options"),
        ({"options": 4}, "not-four-options"),
        ({"options": ["red", "blue", " ", "white"]}, "empty-option"),
        ({"options": ["red", "blue", {"text": "green"}, "white"]}, "empty-option"),
        ({"options": ["red", "blue", "Blue.", "white"]}, "options-alike"),
        ({"options": ["red", "blue", "\uff42\uff4c\uff55\uff45", "white"]}, "options-alike"),
        ({"answer": "pink"}, "answer-not-an-option"),
        ({"answer": ""}, "answer-not-an-option"),
        ({"answer": "E"}, "answer-not-an-option"),
        ({"answer": "(A) blue"}, "answer-not-an-option"),
        ({"answer": "red or blue"}, "answer-not-an-option"),
        ({"answer": ["blue"]}, "answer-not-an-option"),
        ({"question": "What colour is the BLUE car?"}, "answer-in-stem"),
        ({"question": "Is it 'blue'?"}, "answer-in-stem"),
    ],
)
async def test_what_is_no_sound_question_is_a_drop_with_its_reason(change: dict[str, Any], reason: str) -> None:
    questions, drops, _ = await asked(as_json(DOG, {**CAR, **change}))
    assert stems(questions) == ["How many dogs are there?"]
    (drop,) = drops
    assert (drop.stage, drop.reason, drop.record, drop.image) == ("ask", reason, caption().id, caption().image)
    assert drop.detail.startswith("question 2: ")


@pytest.mark.parametrize(
    "sound",
    [
        {"question": "Is the door red, blue, green or white?"},  # all stand in it: none is given away
        {"question": "What do the bluebells stand in?"},  # a part of a word is no word
        {"options": ["-3", "3", "C++", "C"], "answer": "3"},  # signs count
        {
            "options": ["\u0915\u093f", "\u0915\u0940", "\u0915\u0941", "\u0915\u0947"],
            "answer": "\u0915\u0940",
        },  # so do vowel signs
    ],
)
async def test_what_only_looks_unsound_is_kept(sound: dict[str, Any]) -> None:
    questions, drops, _ = await asked(as_json({**CAR, **sound}))
    assert len(questions) == 1, drops


async def test_a_question_that_is_asked_twice_counts_once() -> None:
    again = {**CAR, "question": "what COLOUR is the car", "options": ["blue", "pink", "grey", "black"]}
    questions, drops, _ = await asked(as_json(CAR, again, DOG))
    assert len(questions) == 2
    assert [drop.reason for drop in drops] == ["asked-twice"]
    assert [question.index for question in questions] == [0, 2]


async def test_words_that_differ_in_a_vowel_sign_are_other_words() -> None:
    stems_ = ["\u0915\u093f?", "\u0915\u0940?"]
    questions, drops, _ = await asked(as_json(*({**CAR, "question": stem} for stem in stems_)))
    assert stems(questions) == stems_
    assert drops == []


async def test_an_unsound_question_does_not_stand_in_the_way_of_a_sound_one() -> None:
    questions, drops, _ = await asked(as_json({**CAR, "answer": "pink"}, CAR))
    assert stems(questions) == ["What colour is the car?"]
    assert [drop.reason for drop in drops] == ["answer-not-an-option"]


async def test_made_is_kept_and_dropped() -> None:
    bad = [{**CAR, "answer": "pink"}] * 3
    questions, drops, _ = await asked(as_json(CAR, *bad, DOG, CAR))
    assert len(questions) + len(drops) == 6
    assert len({drop.id for drop in drops}) == 4, "drops of the same question are told apart"


async def test_no_more_questions_are_kept_than_were_asked_for_and_the_rest_is_surplus() -> None:
    many = [{**CAR, "question": f"What colour is car {i}?"} for i in range(5)]
    many[1] = {**many[1], "answer": "pink"}
    settings = AskSettings(model="asker", questions=2)
    questions, drops, (request,) = await asked(as_json(*many), settings=settings)
    assert [question.index for question in questions] == [0, 2], "the first that are sound"
    assert [drop.reason for drop in drops] == ["answer-not-an-option", "surplus", "surplus"]
    assert "Write 2 multiple-choice" in request.messages[0].text


async def test_where_nothing_can_be_read_a_second_call_may_put_it_into_form() -> None:
    replies = [Choice(text="Q1: what colour is the car? a) red…", key="1"), Choice(text=as_json(CAR), key="2")]
    questions, drops, requests = await asked(lambda _r, _i: replies.pop(0))
    assert stems(questions) == ["What colour is the car?"]
    assert questions[0].reply == "2", "the one that it was read from"
    assert drops == []
    assert "Q1: what colour is the car? a) red…" in requests[1].messages[0].text
    assert caption().text not in requests[1].messages[0].text
    assert requests[0].seed != requests[1].seed


@pytest.mark.parametrize(
    ("replies", "settings", "reason", "calls"),
    [
        (["nothing", "nothing"], {}, "unreadable", 2),
        (["nothing"], {"reparse": False}, "unreadable", 1),
        (["  "], {}, "unreadable", 1),
        (['{"questions": []}'], {}, "no-questions", 1),
        (['<think>Nothing is settled.</think>Here: {\n "questions" : [ ]}'], {}, "no-questions", 1),
        (["```json\n[]\n```"], {"structured": False}, "no-questions", 1),
        (["What is on the table? []", '{"questions": []}'], {}, "unreadable", 2),
        (
            [Choice(text='{"questions": [{"question": "Wh', finish_reason="length")],
            {"reparse": False},
            "unfinished",
            1,
        ),
        ([Choice(text="", reasoning="I think", finish_reason="length")], {}, "unfinished", 1),
    ],
)
async def test_a_caption_without_questions_is_one_drop(
    replies: list[Any], settings: dict[str, Any], reason: str, calls: int
) -> None:
    left = list(replies)
    questions, drops, requests = await asked(
        lambda _r, _i: left.pop(0), settings=AskSettings(model="asker", **settings)
    )
    assert questions == []
    assert [(drop.reason, drop.record) for drop in drops] == [(reason, caption().id)]
    assert len(requests) == calls


async def test_without_structure_tagged_text_is_asked_for() -> None:
    _, _, (request,) = await asked(tagged(CAR), settings=AskSettings(model="asker", structured=False))
    assert request.schema is None
    assert "<question>" in request.messages[0].text
    assert "JSON" not in request.messages[0].text


async def test_a_caption_cannot_write_the_prompt() -> None:
    _, _, (request,) = await asked(as_json(CAR), of=caption(text="{questions} {form} {caption}"))
    assert "{questions} {form} {caption}" in request.messages[0].text


async def test_a_server_that_reports_reasoning_apart_is_understood() -> None:
    draft = as_json({**CAR, "question": "A draft?"})
    questions, _, _ = await asked(lambda _r, _i: Choice(text=as_json(CAR), reasoning=draft))
    assert stems(questions) == ["What colour is the car?"]


async def test_a_thought_that_never_ended_holds_drafts_not_questions() -> None:
    questions, drops, _ = await asked(
        lambda _r, _i: Choice(text=f"<think>{as_json(CAR)}", finish_reason="length"),
        settings=AskSettings(model="asker", reparse=False),
    )
    assert questions == []
    assert [drop.reason for drop in drops] == ["unfinished"]


async def test_half_a_character_in_an_escape_is_no_text() -> None:
    reply = as_json({**CAR, "question": "What does the sign HERE say?"}).replace("HERE", "\\ud83d")
    (question,), _, _ = await asked(reply)
    assert question.stem == "What does the sign ? say?"
    question.prompt.encode()


HOSTILE = [
    "{" * 400_000,
    '{"' * 200_000,
    '{"a":' * 100_000,
    "[" * 100_000,
    "<question>" * 40_000,
    '{"n": 1' + "0" * 9000 + "}",
]


@pytest.mark.parametrize("reply", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_reply_costs_little_and_breaks_nothing(reply: str) -> None:
    began = time.process_time()
    assert list(read(reply)) == []
    assert time.process_time() - began < 2


def test_ids_say_what_was_asked_and_how_it_is_shown() -> None:
    item = Asked("Which?", ("a1", "b1", "c1", "d1"), "a1", "counting")

    def made(system: str = "s", seed: int = 0, items: Asked = item) -> Question:
        return check([items], caption(), SHOWN, system, seed=seed, reply=None)[0][0]

    assert made() == made()
    assert made(system="t").id != made().id
    shown = {made(seed=seed).prompt: made(seed=seed).id for seed in range(30)}
    assert len(set(shown.values())) == len(shown) > 10, "shown otherwise, it is another question"
    assert made(items=Asked("Which one?", item.options, "a1", "")).id != made().id
    assert made(items=Asked("Which?", item.options, "b1", "")).id != made().id


@pytest.mark.parametrize(
    ("said", "ours"),
    [
        ("Spatial & relational", "spatial"),
        ("COUNTING", "counting"),
        ("causal and commonsense", "causal"),
        ("goal-oriented", "goal"),
        ("Recognition", "recognition"),
        ("Temporal!", "temporal"),
        ("", "other"),
    ],
)
def test_kinds_have_one_name(said: str, ours: str) -> None:
    assert kind(said) == ours
