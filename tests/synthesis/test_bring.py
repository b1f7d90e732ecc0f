"""A question set's cells: what is understood, and what is turned down rather than guessed at."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.models.base import Choice
from lpt.settings import QuestionColumns
from lpt.synthesis import bring
from lpt.synthesis.bring import Unread

FOUR = ("red", "green", "blue", "two cars")


def cells(options: Any, answer: Any, answer_as: str = "auto") -> bring.Cells | Unread:
    return bring.read({"question": "Which?", "options": options, "answer": answer}, QuestionColumns(), answer_as)


@pytest.mark.parametrize(
    "options",
    [
        list(FOUR),
        tuple(FOUR),
        "(A) red (B) green (C) blue (D) two cars",
        "A. red\nB. green\nC. blue\nD. two cars",
        "red\ngreen\n\nblue\ntwo cars",
        '["red", "green", "blue", "two cars"]',
        ["A. red", "B. green", "C. blue", "D. two cars"],
        {"B": "green", "A": "red", "D": "two cars", "C": "blue"},
        '{"A": "red", "B": "green", "C": "blue", "D": "two cars"}',
        {"text": list(FOUR), "label": ["A", "B", "C", "D"]},
    ],
)
def test_options_in_every_shape(options: Any):
    read = cells(options, "blue")
    assert isinstance(read, bring.Cells)
    assert read.options == FOUR


@pytest.mark.parametrize(
    ("options", "answer", "told", "outcome"),
    [
        (FOUR, "blue", "auto", "blue"),
        (FOUR, "C", "auto", "C"),
        (FOUR, 2, "auto", "answer-is-a-number"),
        (FOUR, "2", "auto", "answer-is-a-number"),
        (("1", "2", "3"), "2", "auto", "2"),
        (("1", "2", "3"), 2, "auto", "answer-is-a-number"),
        (FOUR, 2, "index", "(C)"),
        (FOUR, "2", "index", "(C)"),
        (FOUR, 2.0, "index", "(C)"),
        (FOUR, 2, "number", "(B)"),
        (FOUR, 0, "number", "answer-not-an-option"),
        (FOUR, 4, "index", "answer-not-an-option"),
        (FOUR, 2.5, "index", "answer-not-an-option"),
        (FOUR, True, "index", "no-answer"),
        (FOUR, "-1", "index", "answer-not-an-option"),
        (FOUR, "(c)", "letter", "(C)"),
        (FOUR, "E", "letter", "answer-not-an-option"),
        (("C", "B", "A"), "A", "text", "(C)"),
        (("C", "B", "A"), "A", "letter", "(A)"),
        (FOUR, "Two cars.", "text", "(D)"),
        (FOUR, "yellow", "text", "answer-not-an-option"),
        (None, "yellow", "auto", "yellow"),
        (None, 3, "auto", "3"),
        (None, "A", "letter", "no-options"),
        (FOUR, ["red"], "auto", "no-answer"),
        (FOUR, "x" * 30_000, "auto", "too-long"),
    ],
)
def test_answers_in_every_shape(options: Any, answer: Any, told: str, outcome: str):
    read = cells(options if options is None else list(options), answer, told)
    assert (read.reason if isinstance(read, Unread) else read.answer) == outcome


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=12,
)


@given(json_values, json_values, json_values, st.sampled_from(["auto", "letter", "text", "index", "number"]))
def test_any_cells_are_a_question_or_a_reason(stem: Any, options: Any, answer: Any, told: str):
    read = bring.read({"question": stem, "options": options, "answer": answer}, QuestionColumns(), told)
    if isinstance(read, Unread):
        assert read.reason
    else:
        assert read.stem
        assert read.answer
        assert all(isinstance(option, str) for option in read.options)


@given(st.text(max_size=200))
def test_any_reply_is_exactly_three_options_or_a_reason(text: str):
    found = bring.wrong_options(Choice(text=text))
    assert isinstance(found, str) or (len(found) == 3 and all(found))
