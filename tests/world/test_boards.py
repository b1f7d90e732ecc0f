import random
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lpt.world.boards.asking import KINDS, STEPS, TRAINED, Stem, question, recognise, solve, wander, way
from lpt.world.boards.board import CELLS, COLORS, LINES, MOVES, Board, OffBoard, board, moves, step
from lpt.world.boards.roles import questions
from lpt.world.boards.saying import glance, walk
from lpt.world.boards.slips import astray
from lpt.world.boards.talk import caption, read
from tests.world.looks import after, by_hand, explains, false

SEEDS = st.integers(0, 2**40)
ARROWS = st.tuples(*(st.sampled_from(moves(cell)) for cell in range(16)))
ANY = st.builds(Board, st.tuples(*(st.sampled_from(COLORS) for _ in CELLS)), ARROWS)
"""Boards that nobody would draw, too: of one color, of eight."""
BOARDS = SEEDS.map(lambda seed: board(random.Random(seed)))
STARTS = st.integers(0, 15)
STEMS = st.one_of(
    STARTS.map(lambda start: Stem("cell", start)),
    st.tuples(STARTS, st.sampled_from(STEPS)).map(lambda of: Stem("follow", *of)),
    st.tuples(STARTS, st.sampled_from(COLORS)).map(lambda of: Stem("when", of[0], color=of[1])),
    st.tuples(st.sampled_from(COLORS), st.sampled_from(sorted(LINES))).map(
        lambda of: Stem("count", color=of[0], line=of[1])
    ),
    st.tuples(STARTS, st.sampled_from(STEPS), SEEDS).map(
        lambda of: Stem("path", of[0], moves=wander(of[0], of[1], random.Random(of[2])))
    ),
)
"""Whatever can be asked, whether or not anybody would."""


@given(ANY)
def test_a_caption_tells_a_board_whole(of: Board):
    assert read(caption(of)) == of
    assert read(f"Picture this: {caption(of)} Start at a1 and follow 2 arrows.") == of
    assert read(caption(of).replace("a1 ", "a9 ")) is None


@given(STARTS, st.sampled_from(sorted(MOVES)))
def test_a_step_leads_to_the_next_cell_or_off_the_board(cell: int, move: str):
    try:
        expected = after(CELLS[cell], move)
    except (IndexError, ValueError):
        expected = ""
    # Python counts from behind, too: "abcd"[-1] is no row above a.
    if expected in CELLS and move in moves(cell):
        assert CELLS[step(cell, move)] == expected
    else:
        with pytest.raises(OffBoard, match=f"{CELLS[cell]} {move}"):
            step(cell, move)
    row, column = divmod(cell, 4)
    edges = {"up": row == 0, "down": row == 3, "left": column == 0, "right": column == 3}
    assert (move in moves(cell)) == (not edges[move])


@given(ANY, STEMS)
def test_what_is_asked_is_read_again_and_solved_as_by_hand(of: Board, stem: Stem):
    assert recognise(f"Some words.\n{stem}\n(A) red") == stem
    assert solve(of, stem) == by_hand(of, str(stem))


@given(ANY, STARTS, st.sampled_from(COLORS))
def test_there_is_no_answer_where_a_color_does_not_come(of: Board, start: int, color: str):
    met = {of.colors[cell] for cell in of.follow(start, STEPS[-1])}
    assert (solve(of, Stem("when", start, color=color)) is None) == (color not in met)


def test_there_is_no_answer_where_a_way_leads_off_the_board():
    of = board(random.Random(0))
    assert solve(of, Stem("path", 0, moves=("left",))) is None
    assert solve(of, Stem("path", 0, moves=("right", "up"))) is None
    assert solve(of._replace(arrows=("up", *of.arrows[1:])), Stem("follow", 0, 1)) is None
    with pytest.raises(OffBoard, match="a1 left"):
        way(of, Stem("path", 0, moves=("left",)))


@pytest.mark.parametrize("text", ["", "Which color is on e1?", "Start at a1 and go north: which color is there?"])
def test_what_nobody_would_ask_is_no_stem(text: str):
    assert recognise(text) is None


@given(BOARDS, st.sampled_from(KINDS), SEEDS)
def test_a_question_has_its_answer_among_four_options(of: Board, kind: str, seed: int):
    made = question(of, kind, random.Random(seed))
    assert made.stem.kind == kind
    assert len(set(made.options)) == 4
    assert made.answer == by_hand(of, str(made.stem))
    assert made.answer in made.options
    numbers = kind in ("when", "count")
    assert set(made.options) <= (set("01234") if numbers else set(of.colors))
    assert made == question(of, kind, random.Random(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_neither_a_place_nor_an_answer_is_likelier_than_boards_make_it(kind: str):
    made = [question(board(random.Random(n)), kind, random.Random(-1 - 10**6 * n)) for n in range(800)]
    places = Counter(one.options.index(one.answer) for one in made)
    answers = Counter(one.answer for one in made)
    lengths = Counter(one.stem.steps or len(one.stem.moves) for one in made)
    assert all(150 < places[place] < 250 for place in range(4))
    if kind == "count":  # three of a color in a line is what not every board has
        assert all(150 < answers[number] < 350 for number in "012")
        assert answers["3"] > 30
    elif kind == "when":
        assert all(130 < answers[str(number)] < 260 for number in STEPS)
    else:
        assert all(65 < answers[color] < 135 for color in COLORS)
    if kind in ("follow", "path"):
        assert all(150 < lengths[steps] < 250 for steps in STEPS)


@given(BOARDS, SEEDS, st.integers(1, 14))
def test_what_is_asked_about_a_board_is_answered_rightly(of: Board, seed: int, count: int):
    made = questions(of, random.Random(seed), count)
    assert len(made) == count
    assert len({one.stem for one in made}) == count
    assert {one.kind for one in made} <= set(TRAINED)
    for one in made:
        assert one.answer == by_hand(of, one.stem)


def test_kinds_come_in_turn_but_for_what_was_asked_already():
    for n in range(40):
        made = [one.kind for one in questions(board(random.Random(n)), random.Random(n), 8)]
        assert made[:4] == list(TRAINED)
        assert set(Counter(made).values()) <= {1, 2, 3}


def test_the_kind_that_is_kept_back_is_never_asked_in_the_pipeline():
    assert set(KINDS) - set(TRAINED) == {"path"}


@given(BOARDS, st.sampled_from(KINDS), SEEDS)
def test_a_look_that_goes_well_says_nothing_false_and_ends_on_the_answer(of: Board, kind: str, seed: int):
    made = question(of, kind, random.Random(seed))
    look = walk(of, made.stem)
    assert false(of, made.stem, look) == set()
    assert look.rstrip(".").split()[-1] == made.answer


@given(STEMS, st.sampled_from(COLORS))
def test_a_glance_is_one_sentence_that_ends_on_its_answer(stem: Stem, answer: str):
    said = glance(stem, answer)
    assert said.endswith(f" {answer}.")
    assert said.count(".") == 1
    assert (stem.line or CELLS[stem.start]) in said


@given(BOARDS, st.sampled_from(KINDS), SEEDS, st.integers(0, 3))
def test_a_look_that_goes_astray_has_one_slip_wherever_one_explains_where_it_ends(
    of: Board, kind: str, seed: int, place: int
):
    made = question(of, kind, random.Random(seed))
    end = made.options[place]
    assume(end != made.answer)
    look = astray(of, made.stem, end, random.Random(seed))
    wrong, possible = false(of, made.stem, look), explains(of, made.stem, end)
    assert look.rstrip(".").split()[-1] == end
    assert (len(wrong) == 1) == bool(possible)
    assert wrong
    if possible:
        ((_, taken),) = wrong
        # A way is lost at an arrow wherever one leads to the answer.
        assert (taken in MOVES) == ("arrow" in possible and kind in ("follow", "when"))
    assert astray(of, made.stem, end, random.Random(seed)) == look


def test_looks_go_astray_in_different_ways():
    of = board(random.Random(1))
    made = question(of, "follow", random.Random(5))
    ends = [option for option in made.options if option != made.answer]
    found = {astray(of, made.stem, end, random.Random(seed)) for seed in range(20) for end in ends}
    assert len(found) > len(ends)


@pytest.mark.parametrize("kind", TRAINED)
def test_how_many_wrong_answers_a_single_slip_explains(kind: str):
    whole = single = 0
    for seed in range(200):
        of, rng = board(random.Random(seed)), random.Random(seed)
        made = question(of, kind, rng)
        for end in made.options:
            whole += end != made.answer
            single += end != made.answer and bool(explains(of, made.stem, end))
            if kind == "count" and end != made.answer:
                assert bool(explains(of, made.stem, end)) == (abs(int(end) - int(made.answer)) == 1)
    share = single / whole
    assert share == 1 if kind in ("cell", "follow") else 0.4 < share < 1
