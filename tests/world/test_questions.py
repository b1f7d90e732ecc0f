from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpt.world.describe import describe
from lpt.world.grammar import find
from lpt.world.kinds import KINDS, TYPES, recognise, solve
from lpt.world.questions import every, questions, truth
from lpt.world.reading import read
from lpt.world.scene import Facts, Flock, Thing, scene
from lpt.world.words import PLAIN, RICH, draw

FACTS = Facts(
    style=RICH,
    things=(
        Thing(0, 1, "cube", "blue", "striped", "large"),
        Thing(1, 1, "ball", "red", "plain", "medium"),
        Thing(2, 4, "ball", "blue", "spotted", "small"),
    ),
    ground="sand",
    light="left",
    flock=Flock("birds", 3),
)


@given(st.integers(0, 2**63), st.integers(0, 10**6), st.sampled_from([RICH, PLAIN]))
@settings(max_examples=150, deadline=None)
def test_every_question_has_four_distinct_options_and_its_answer_is_the_truth(seed, index, style):
    made = scene(seed, index, style)
    from_caption = read(describe(made))
    assert from_caption is not None
    for question in every(from_caption, draw(seed)):
        assert len(set(question.options)) == 4
        assert truth(made, question.stem, question.options) == question.answer
        assert truth(made, f"Some words first.\n{question.stem}\nPick one.", question.options) == question.answer


BACK, MIDDLE, FRONT = (
    "The object at the far left of the back row",
    "The object at the center-left of the middle row",
    "The object at the far right of the front row",
)


@pytest.mark.parametrize(
    ("stem", "options", "right"),
    [
        ("What color is the cube?", "Red|Blue|Green|Teal", "Blue"),
        ("What pattern is on the red ball?", "Stripes|Spots|Checks|No pattern", "No pattern"),
        (
            "Where in the picture is the red ball?",
            "At the far left of the back row|At the center-left of the middle row",
            "At the center-left of the middle row",
        ),
        ("Which object is farthest to the right?", "The blue cube|The red ball|The blue ball", "The blue ball"),
        (
            "Which object is partly hidden by the red ball?",
            "The blue cube|The blue ball|The red cone",
            "The blue cube",
        ),
        (
            "Which of these objects is farther to the right than the blue cube?",
            "The red ball|The blue ball|The red cone",
            "The blue ball",
        ),
        ("How many balls are there?", "One|Two|Three|Four", "Two"),
        ("How many birds can be counted?", "Two|Three|Four|Five", "Three"),
        (
            "If one more object were set down here, where would its shadow fall?",
            "To its left|To its right",
            "To its right",
        ),
        (
            "Someone sorts the objects by color. Which one belongs with the blue cube?",
            f"{BACK}|{MIDDLE}|{FRONT}",
            FRONT,
        ),
        (
            "Which object would have to be moved to leave the back row empty?",
            "The blue cube|The red ball",
            "The blue cube",
        ),
    ],
)
def test_answers_worked_out_by_hand(stem, options, right):
    assert solve(stem, options.split("|"), FACTS) == right


def test_what_is_ambiguous_or_foreign_has_no_true_answer():
    made = scene(1, 0)
    assert solve("What color is the ball?", ("Red", "Blue"), FACTS) is None
    assert solve("What color is the cone?", ("Red", "Blue"), FACTS) is None
    assert solve("What color is the cube?", ("Red", "Green"), FACTS) is None
    assert truth(made, "What is the capital of France?", ("Paris", "Rome")) is None


def test_the_answer_cannot_be_read_off_the_options_of_sorting_questions():
    for index in range(40):
        made = scene(2, index)
        for question in every(made.facts, draw(index)):
            if question.type == TYPES[4] and question.kind != "clear row":
                assert all(option.startswith("The object at") for option in question.options)


def test_questions_spread_over_all_types_and_all_kinds_occur():
    kinds: Counter[str] = Counter()
    types: Counter[str] = Counter()
    for index in range(80):
        made = questions(scene(2, index).facts, draw(index))
        assert len(made) == 8
        kinds.update(question.kind for question in made)
        types.update(question.type for question in made)
    assert set(kinds) == {kind.name for kind in KINDS}
    assert min(types.values()) > 0.1 * sum(types.values())


def test_a_stem_is_recognised_with_what_it_is_about():
    known = recognise("Have a look. What color is the small spotted cone? Choose.")
    assert known is not None
    assert (known[0].name, known[1]) == ("color", {"ref": "the small spotted cone"})
    assert find(FACTS, "the small blue ball") == [FACTS.things[2]]
