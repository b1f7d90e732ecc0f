import json
import re
from typing import Any

import pytest

from lpt.serving.protocol import Ask, Turn
from lpt.world import role
from lpt.world.asker import Asker
from lpt.world.describe import describe
from lpt.world.dials import Dials
from lpt.world.questions import truth
from lpt.world.scene import scene

CLEAN = Dials(wrong_answer=0, invalid=0)
SCHEMA = {
    "type": "object",
    "required": ["questions"],
    "additionalProperties": False,
    "properties": {
        "questions": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["question", "options", "answer", "type"],
                "properties": {
                    "question": {"type": "string"},
                    "options": {"type": "array", "items": {"type": "string"}, "minItems": 4, "maxItems": 4},
                    "answer": {"type": "string"},
                    "type": {"type": "string"},
                },
            },
        }
    },
}


def ask(index: int, **more: Any) -> Ask:
    text = f"Write questions about this picture:\n{describe(scene(3, index))}\nThank you."
    return Ask(
        "m", (Turn("system", "Be careful."), Turn("user", text)), **{"temperature": 0.7, "max_tokens": 4096, **more}
    )


TAGGED = re.compile(
    r"^(\d+)\. <question> (.+?) </question> <choices> \(A\) (.+?) \(B\) (.+?) \(C\) (.+?) \(D\) (.+?) </choices> "
    r"<answer> (.+?) </answer> <type> (.+?) </type>$"
)


def test_its_questions_are_true_of_the_scene():
    for index in range(25):
        lines = Asker(CLEAN)(ask(index), 1).text.split("\n\n")
        assert len(lines) == 8
        for number, line in enumerate(lines, start=1):
            found = TAGGED.match(line)
            assert found, line
            assert int(found[1]) == number
            assert truth(scene(3, index), found[2], found.group(3, 4, 5, 6)) == found[7]


def test_with_a_schema_it_conforms():
    reply = json.loads(Asker(CLEAN)(ask(0, schema=SCHEMA), 1).text)
    assert len(reply["questions"]) == 8
    for made in reply["questions"]:
        assert list(made) == ["question", "options", "answer", "type"]
        assert truth(scene(3, 0), made["question"], made["options"]) == made["answer"]


def test_the_schema_may_use_other_names_references_and_letters():
    item = {
        "stem": {},
        "choices": {},
        "answer_letter": {"enum": ["A", "B", "C", "D"]},
        "kind": {"enum": ["counting", "spatial", "other"]},
        "note": {"type": "string"},
    }
    schema = {
        "$defs": {"Item": {"properties": item}},
        "properties": {"items": {"type": "array", "items": {"$ref": "#/$defs/Item"}}},
    }
    for made in json.loads(Asker(CLEAN)(ask(0, schema=schema), 1).text)["items"]:
        right = truth(scene(3, 0), made["stem"], made["choices"])
        assert right == made["choices"]["ABCD".index(made["answer_letter"])]
        assert made["kind"] in ("counting", "spatial", "other")
        assert made["note"] == ""


def marks(dials: Dials, count: int = 60) -> tuple[float, float]:
    wrong = invalid = total = 0
    for index in range(count):
        for made in json.loads(Asker(dials)(ask(index, schema=SCHEMA), 0).text)["questions"]:
            total += 1
            invalid += made["answer"] not in made["options"]
            wrong += made["answer"] in made["options"] and made["answer"] != truth(
                scene(3, index), made["question"], made["options"]
            )
    return wrong / total, invalid / total


def test_it_marks_wrong_and_invalid_answers_as_often_as_dialled():
    wrong, invalid = marks(Dials())
    assert 0.01 < wrong < 0.06
    assert invalid < 0.04
    assert marks(Dials(wrong_answer=1, invalid=0), 5) == (1, 0)
    assert marks(Dials(invalid=1), 5) == (0, 1)


def test_malformed_replies_are_a_dial():
    with pytest.raises(json.JSONDecodeError):
        json.loads(Asker(Dials(malformed=1))(ask(0, schema=SCHEMA), 1).text)


def test_without_a_caption_there_are_no_questions():
    lost = Ask("m", (Turn("user", "Write eight questions about the picture."),))
    assert "<question>" not in Asker()(lost, 0).text
    assert json.loads(Asker()(Ask("m", lost.turns, schema=SCHEMA), 0).text) == {"questions": []}


def test_the_caption_of_another_scene_gives_other_questions():
    assert Asker()(ask(0), 1) == Asker()(ask(0), 1) != Asker()(ask(1), 1)
    assert Asker()(ask(0, temperature=0), 1) == Asker()(ask(0, temperature=0), 2)
    assert Asker()(ask(0), 1) != Asker()(ask(0), 2)


def test_a_role_is_made_by_name():
    assert role("asker", CLEAN)(ask(0), 0).text.startswith("1. <question>")
    with pytest.raises(
        ValueError, match="asker, student, reasoner, expert, judge, board-asker, board-reasoner, not"
    ):
        role("teacher")
