"""Nothing false is taught: each reply is what the tests' own reading of the board says."""

import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.miniature import lessons
from lpt.recipe import Recipe
from lpt.synthesis import think
from lpt.world.boards.asking import KINDS, question, recognise
from lpt.world.boards.bench import solve_text
from lpt.world.boards.board import Board, board
from lpt.world.boards.talk import caption
from tests.world.looks import after, by_hand, false, told

SEEDS = st.integers(0, 2**40)
BOARDS = SEEDS.map(lambda seed: board(random.Random(seed)))
KINDS_OF_LESSON = ("describe", "neighbours", "simple", *lessons._DRILLS)


def of(kind: str, shown: Board, seed: int) -> tuple[list[str], list[list[str]], str]:
    """A lesson's prompt's cells, its reply's clauses in words, its prompt."""
    one = lessons.lesson(shown, random.Random(seed), {kind: 1.0})
    assert one.reply.endswith(".")
    return (
        re.findall(r"\b[a-d][1-4]\b", one.prompt),
        [part.split() for part in one.reply[:-1].split(", ")],
        one.prompt,
    )


@given(BOARDS, SEEDS)
def test_drills_are_true(shown: Board, seed: int) -> None:
    seen = told(caption(shown))
    asked, said, _ = of("cells", shown, seed)
    assert said == [[cell, *seen[cell]] for cell in asked]

    asked, said, _ = of("steps", shown, seed)
    assert said == [[cell, seen[cell][1], "to", after(cell, seen[cell][1])] for cell in asked]

    _, said, prompt = of("neighbours", shown, seed)
    assert [clause[:2] for clause in said] == [part.split() for part in prompt[17:-1].split(", ")]
    assert all(clause[2:] == ["to", after(clause[0], clause[1])] for clause in said)

    asked, said, prompt = of("ahead", shown, seed)
    for cell, (named, color) in zip(asked, said, strict=True):
        words = f"Start at {cell} and follow {prompt.split()[1]} arrows: which color is there?"
        assert (named, color) == (cell, by_hand(shown, words))

    _, said, prompt = of("counts", shown, seed)
    color = prompt.rstrip("?").split()[-1]
    for *line, number in said:
        assert number == by_hand(shown, f"How many arrows of {' '.join(line)} are {color}?")


@given(BOARDS, SEEDS)
def test_walks_are_true(shown: Board, seed: int) -> None:
    one = lessons.lesson(shown, random.Random(seed), {"walks": 1.0})
    stem = recognise(one.prompt)
    assert stem
    assert one.prompt == f"{stem} Cell by cell."
    assert false(shown, stem, one.reply) == set()

    one = lessons.lesson(shown, random.Random(seed), {"told_walks": 1.0})
    given, words = one.prompt.removesuffix(" Cell by cell.").split("\n")
    stem = recognise(words)
    assert stem
    assert false(shown, stem, one.reply) == set()
    assert one.reply.endswith(f" is {solve_text(one.prompt)}.")  # what is told is enough
    clauses = given.removeprefix("Without a board: ").rstrip(".").split(", ")
    assert {clause[:2]: tuple(clause.split()[1:]) for clause in clauses}.items() <= told(caption(shown)).items()
    assert not one.seen


@given(BOARDS, SEEDS)
def test_a_chain_says_what_it_is_told_to_say_and_looks_where_it_is_told_to_look(shown: Board, seed: int) -> None:
    one = lessons.lesson(shown, random.Random(seed), {"chain": 1.0})
    said = one.reply
    if one.system:
        inside = re.fullmatch(r"<think> (.+) </think> <answer> (\w+) </answer>", said)
        assert inside
        assert one.prompt.endswith(f"Say after me: {inside[2]}")
        said = inside[1]
    seen = told(caption(shown))
    for echoed in re.findall(r"Say after me: (\w+(?: \w+)*(?:, it is \w+)?[.,])", one.prompt):
        assert echoed in said
    for cell in re.findall(r"What is on (..)\?", one.prompt):
        assert f"{cell} is {seen[cell][0]}." in said


@given(BOARDS, SEEDS)
def test_a_glance_comes_to_the_answer_among_two_to_four_options(shown: Board, seed: int) -> None:
    one = lessons.lesson(shown, random.Random(seed), {"simple": 1.0})
    stem = recognise(one.prompt)
    assert stem
    answer = by_hand(shown, str(stem))
    options = re.findall(r"\([A-D]\) (\w+)", one.prompt)
    assert 2 <= len(set(options)) == len(options) <= 4
    assert answer in options
    assert re.search(rf"^<think> [^.]* {answer}\. </think> <answer> {answer} </answer>$", one.reply)
    assert one.system == lessons.SYSTEM


@given(BOARDS, SEEDS)
def test_a_question_in_words_alone_has_its_answer_in_them(shown: Board, seed: int) -> None:
    one = lessons.lesson(shown, random.Random(seed), {"read": 1.0})
    answer = solve_text(one.prompt)
    assert answer in re.findall(r"\([A-D]\) (\w+)", one.prompt)
    assert one.reply.endswith(f"I come to {answer}. </think> <answer> {answer} </answer>")
    assert one.system == lessons.SYSTEM
    assert not one.seen


@given(BOARDS, st.sampled_from(KINDS_OF_LESSON), SEEDS)
def test_a_lesson_is_its_seeds(shown: Board, kind: str, seed: int) -> None:
    one, two = (lessons.lesson(shown, random.Random(seed), {kind: 1.0}) for _ in range(2))
    assert one == two


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_options_are_in_their_order_and_hold_the_answer(kind: str) -> None:
    sizes = set()
    for seed in range(60):
        put = question(board(random.Random(seed)), kind, random.Random(-1 - seed))
        less = lessons.fewer(put, random.Random(seed))
        assert less.answer == put.answer
        assert less.answer in less.options
        assert [option for option in put.options if option in less.options] == [*less.options]
        sizes.add(len(less.options))
    assert sizes == {2, 3, 4}


@given(BOARDS, SEEDS)
def test_no_lesson_holds_a_second_look(shown: Board, seed: int) -> None:
    """A question with options is answered in one sentence; what walks or concludes was told to, word for word."""
    for kind in KINDS_OF_LESSON:
        one = lessons.lesson(shown, random.Random(seed), {kind: 1.0})
        assert [*_CONCLUDING.findall(one.reply)] == [*_CONCLUDING.findall(one.prompt)]
        if "(A)" in one.prompt:
            assert kind in ("simple", "read")
            assert one.reply.count(".") == 1
            assert " to " not in one.reply.replace("come to", "")


_CONCLUDING = re.compile(r"\b(?:So|Not|Yes|Wait|Hmm|Alternatively|maybe)\b")


def test_a_question_is_put_as_the_recipe_puts_it() -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "miniature.toml"
    settings = Recipe.load(recipe).think
    assert settings
    assert think.system(settings) == lessons.SYSTEM
    assert settings.formats == ("text",)
