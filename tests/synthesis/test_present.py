"""A question is shown in one way; many, in all ways; and the letter always points to the right text."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.records import ANSWER_FORMATS, LETTERS, AnswerFormat, digest
from lpt.settings import ThinkSettings
from lpt.synthesis import grade, present
from lpt.synthesis.ask import Asked, check
from tests.scripted import caption

OPTIONS = ("red", "blue", "green", "white")
SHOWN = ThinkSettings(model="student")


def test_the_same_question_is_always_shown_the_same_way() -> None:
    for i in range(50):
        name = digest(i)
        assert present.order(OPTIONS, name, 0) == present.order(tuple(reversed(OPTIONS)), name, 0)
        assert present.answer_format(name, 0) == present.answer_format(name, 0)


def test_all_orders_and_all_formats_occur_about_equally_often() -> None:
    orders = Counter(present.order(OPTIONS, digest(i), 0) for i in range(4800))
    assert set(orders) == set(itertools.permutations(OPTIONS))
    assert min(orders.values()) > 140, "200 each"
    formats = Counter(present.answer_format(digest(i), 0) for i in range(3000))
    assert set(formats) == set(ANSWER_FORMATS)
    assert min(formats.values()) > 900


def test_another_seed_shows_otherwise() -> None:
    orders = {present.order(OPTIONS, digest("q"), seed) for seed in range(100)}
    assert len(orders) > 15
    assert {present.answer_format(digest("q"), seed) for seed in range(100)} == set(ANSWER_FORMATS)


@given(
    st.lists(st.text(min_size=1), min_size=2, max_size=8, unique=True),
    st.integers(0, 7),
    st.one_of(st.none(), st.integers(2, 9)),
    st.text(),
    st.integers(0, 99),
)
def test_some_options_are_the_right_one_and_wrong_ones_as_they_stood(
    options: list[str], at: int, fewest: int | None, name: str, seed: int
) -> None:
    right = options[at % len(options)]
    shown = present.some(options, right, name, seed, fewest)
    assert right in shown
    assert list(shown) == [option for option in options if option in shown]
    assert len(options) >= len(shown) >= min(fewest or len(options), len(options))
    assert set(present.some(options[::-1], right, name, seed, fewest)) == set(shown)


def test_each_number_of_options_and_each_wrong_one_comes_equally_often() -> None:
    shown = [present.some(OPTIONS, "red", digest(i), 0, 2) for i in range(3000)]
    sizes = Counter(map(len, shown))
    assert set(sizes) == {2, 3, 4}
    assert min(sizes.values()) > 900
    alone = Counter(option for options in shown if len(options) == 2 for option in options if option != "red")
    assert set(alone) == {"blue", "green", "white"}
    assert min(alone.values()) > 270


def test_a_question_with_fewer_options_still_points_to_its_answer() -> None:
    fewer = ThinkSettings(model="student", fewest_options=2)
    asked = [Asked(f"Which is it, the {n}th?", OPTIONS, "green", "counting") for n in range(40)]
    found, drops = check(asked, caption("c"), fewer, "", seed=0, reply=None)
    assert not drops
    assert {len(question.options) for question in found} == {2, 3, 4}
    assert {question.options[LETTERS.index(question.answer)] for question in found} == {"green"}
    assert all(f"({LETTERS[len(q.options)]})" not in q.prompt for q in found)
    whole, _ = check(asked, caption("c"), SHOWN, "", seed=0, reply=None)
    assert {len(question.options) for question in whole} == {4}


def test_formats_are_drawn_from_those_that_the_recipe_names() -> None:
    assert {present.answer_format(digest(i), 0, ("X.",)) for i in range(20)} == {"X."}


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        (
            "(X)",
            "Which?\n(A) red\n(B) blue\nGive your answer as (X), where X is the letter of the option you choose.",
        ),
        ("X.", "Which?\nA. red\nB. blue\nGive your answer as X., where X is the letter of the option you choose."),
        ("text", "Which?\n(A) red\n(B) blue\nGive your answer as the full text of the option you choose."),
    ],
)
def test_the_words_beside_the_image(form: AnswerFormat, shown: str) -> None:
    assert present.prompt("Which?", ("red", "blue"), form) == shown


word = st.text(st.characters(categories=["Ll", "Lo", "Nd"]), min_size=1, max_size=8)


@given(options=st.lists(word, min_size=4, max_size=4), right=st.integers(0, 3), seed=st.integers(0, 99))
def test_the_answer_always_points_to_the_right_text(options: list[str], right: int, seed: int) -> None:
    asked = Asked(stem="What is it?", options=tuple(options), answer=options[right], kind="counting")
    questions, drops = check([asked], caption(), SHOWN, "sys", seed=seed, reply=None)
    assert len(questions) + len(drops) == 1
    for question in questions:
        assert question.answer_text == options[right]
        assert sorted(question.options) == sorted(options)
        mark = f"{question.answer}. " if question.answer_format == "X." else f"({question.answer}) "
        assert f"\n{mark}{options[right]}\n" in question.prompt
        for letter in LETTERS[:4]:
            said = present.answer(letter, question.letters[letter], question.answer_format)
            graded = grade.grade(
                f"<think>so</think><answer>{said}</answer>",
                question.letters,
                answer=question.answer,
                format=question.answer_format,
            )
            if graded.letter is not None:  # an option may itself be a letter, and so stay unclear
                assert graded.correct == (letter == question.answer)
                assert graded.format_ok
