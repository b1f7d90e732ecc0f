"""What always holds of the sets: nothing vanishes, order does not matter, and a turn is a turn."""

import random
import tempfile
from collections import Counter
from pathlib import Path

import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lpt.curate.compose import compose
from lpt.curate.funnel import check, funnel
from lpt.errors import RunError, StoreError
from lpt.recipe import Recipe
from lpt.records import Drop, Example, LongThought, Pair, Question, Thought
from lpt.settings import CurateSettings
from lpt.store.run import Run
from lpt.synthesis.leaks import caption_phrases, prompt_phrases
from tests.curate.make import Images, Long, Short, make, records, settings, write

SAID = (
    " I look once more at the left side and count the edges again.",
    " no, that is wrong: there are six faces, and each of them is flat and red.",
    " the cube is described as red, and so it has to be the first of the options.",
    " the user wants to know what is on the left side, and I see a cube there.",
    " it is a cube. the cube is red. the cube is on the left side of the picture.",
    " let me see whether the shadow of the object fits to a cube or to a sphere; it fits to a cube.",
)
THOUGHT = (
    "The object on the left has six faces.",
    "The object on the left looks round to me.",
    "It matches the description.",
    "I see a flat thing with letters. It must be a sign, since signs have letters on them.",
)
longs = st.builds(
    Long,
    letter=st.sampled_from("AABC"),
    said=st.sampled_from(SAID),
    cue=st.sampled_from(["Wait,", "Hmm,"]),
    joint=st.sampled_from(["\n", " "]),
    finish=st.sampled_from(["stop"] * 9 + ["length"]),
)
shorts = st.builds(
    Short,
    letter=st.sampled_from(["A", "A", "B", "C", None]),
    said=st.sampled_from(THOUGHT),
    longs=st.lists(longs, max_size=4).map(tuple),
)
images = st.lists(st.lists(st.lists(shorts, max_size=4), max_size=3), min_size=1, max_size=4)
curates = st.builds(
    CurateSettings,
    policy=st.sampled_from(["default", "paper"]),
    keep=st.sampled_from([0.1, 0.5, 1.0]),
    backtracking=st.sampled_from([0.0, 0.5, 0.8]),
    per_question=st.sampled_from([None, 1, 2]),
    compactness=st.booleans(),
    validation=st.sampled_from([0.0, 0.5]),
)
relaxed = hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def tables(run: Run) -> dict[str, bytes]:
    return {name: run.table_path(name).read_bytes() for name in ("sft", "preferences", "drops")}


class Composed:
    def __init__(self, run: Run) -> None:
        self.counts = compose(run)
        self.questions = {q.id: q for q in run.records("questions", Question)}
        self.thoughts = {t.id: t for t in run.records("thoughts", Thought)}
        self.longs = {t.id: t for t in run.records("long_thoughts", LongThought)}
        self.examples = list(run.records("sft", Example))
        self.pairs = list(run.records("preferences", Pair))
        self.drops = list(run.records("drops", Drop))

    def turn(self, name: str) -> str:
        source = self.thoughts.get(name) or self.longs[name]
        question = self.questions[source.question]
        assert source.letter is not None
        answer = {
            "(X)": f"({source.letter})",
            "X.": f"{source.letter}.",
            "text": question.letters[source.letter],
        }[question.answer_format]
        words = source.thought if isinstance(source, Thought) else source.prefix + source.added
        return f"<think> {words} </think> <answer> {answer} </answer>"


@relaxed
@given(images=images, curate=curates)
def test_nothing_vanishes(images: Images, curate: CurateSettings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = make(Path(folder), images, curate)
        it = Composed(run)
        check(it.counts)
        assert it.counts == funnel(run)
        # One fate each: kept, or dropped once, at each stage that a record came to.
        fates = Counter((drop.stage, drop.record) for drop in it.drops)
        fates.update(("sft", example.source) for example in it.examples if example.set == "long")
        fates.update(("preferences", pair.chosen_source) for pair in it.pairs)
        assert set(fates.values()) <= {1}
        assert len({drop.id for drop in it.drops}) == len(it.drops)
        assert all(
            drop.id == Drop.make(drop.stage, drop.record, drop.image, drop.reason, drop.detail).id
            for drop in it.drops
        )


@relaxed
@given(images=images, curate=curates, seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(images: Images, curate: CurateSettings, seed: int) -> None:
    recipe = Recipe(curate=curate)
    rows = records(images, recipe)
    mixed = {name: random.Random(seed).sample(table, len(table)) for name, table in rows.items()}
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        runs = write(Path(one), rows, recipe), write(Path(other), mixed, recipe)
        for run in runs:
            compose(run)
        assert tables(runs[0]) == tables(runs[1])


@relaxed
@given(images=images, curate=curates)
def test_examples_are_whole_turns_of_right_answers(images: Images, curate: CurateSettings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        it = Composed(make(Path(folder), images, curate))
        for example in it.examples:
            question = it.questions[example.question]
            assert (example.prompt, example.system, example.split) == (
                question.prompt,
                "Think first.",
                question.split,
            )
            if example.set == "direct":
                assert example.prefix == ""
                assert example.target.startswith("<answer> ")
                continue
            assert example.prefix + example.target == it.turn(example.source)
            if example.category == "X→O":
                long = it.longs[example.source]
                assert (long.before, long.verdict) == ("wrong", "correct")
                assert example.prefix == f"<think> {it.thoughts[long.thought].thought}"
                assert example.target.startswith(f"{long.joint}{long.cue}")
                assert example.cue == long.cue
            else:
                assert example.prefix == ""
        assert {e.question for e in it.examples if e.set == "direct"} == set(it.questions)


@relaxed
@given(images=images, curate=curates)
def test_no_leak_is_learnt(images: Images, curate: CurateSettings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        it = Composed(make(Path(folder), images, curate))
        learnt = [e.target for e in it.examples] + [side for p in it.pairs for side in (p.chosen, p.rejected)]
        texts = pl.Series("learnt", learnt, dtype=pl.String)
        assert caption_phrases(texts).null_count() == len(learnt)
        assert prompt_phrases(texts).null_count() == len(learnt)


@relaxed
@given(images=images, curate=curates)
def test_pairs_set_right_against_wrong(images: Images, curate: CurateSettings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        it = Composed(make(Path(folder), images, curate))
        everything: dict[str, Thought | LongThought] = {**it.thoughts, **it.longs}

        def category(name: str) -> str:
            source = everything[name]
            mark = "O" if source.verdict == "correct" else "X"
            return mark if isinstance(source, Thought) else f"{'O' if source.before == 'correct' else 'X'}→{mark}"

        for pair in it.pairs:
            chosen, rejected = everything[pair.chosen_source], everything[pair.rejected_source]
            assert chosen.question == rejected.question == pair.question
            assert pair.category == f"{category(chosen.id)}≻{category(rejected.id)}"
            assert (pair.chosen, pair.rejected) == (it.turn(chosen.id), it.turn(rejected.id))
            assert chosen.verdict == "correct"
            assert rejected.verdict == "wrong" or pair.category == "O≻O→O"
            if isinstance(chosen, LongThought):
                assert pair.shared == f"<think> {it.thoughts[chosen.thought].thought}"
                assert pair.chosen.startswith(pair.shared)
                assert pair.rejected.startswith(pair.shared)
            else:
                assert pair.shared == ""
            if pair.category == "O≻O→O":
                assert curate.compactness
                assert len(it.turn(rejected.id)) > len(it.turn(chosen.id))
        texts = Counter((pair.question, pair.chosen) for pair in it.pairs)
        assert set(texts.values()) <= {1}
        mended = Counter((pair.question, pair.rejected) for pair in it.pairs if pair.category.startswith("X→O"))
        assert set(mended.values()) <= {1}


RICH = [
    [
        [
            Short(
                letter,
                f"I think that number {i} of {q} on image {n} is the one. {'It has corners. ' * i}".strip(),
                tuple(Long(to, f" again: {SAID[(i + q + m) % 2]} {m} {i} {q} {n}") for m, to in enumerate("AAAB")),
            )
            for i, letter in enumerate("AAABB")
        ]
        for q in range(5)
    ]
    for n in range(6)
]


def test_half_of_the_set_backtracks_and_the_rest_is_a_tenth_of_the_right_ones(tmp_path: Path) -> None:
    it = Composed(make(tmp_path, RICH, settings(policy="paper", keep=0.1)))
    kept = Counter(e.category for e in it.examples if e.set == "long")
    pool = 30 * (3 + 9)  # questions, each with O and O→O
    assert kept["O"] + kept["O→O"] == pool / 10
    assert kept["X→O"] == pool / 10
    assert sum(e.set == "simple" for e in it.examples) == pool / 5


def test_every_category_of_pairs_is_made(tmp_path: Path) -> None:
    it = Composed(make(tmp_path, RICH, settings(compactness=True, compactness_ratio=1.1)))
    assert {pair.category for pair in it.pairs} == {
        "O≻O→X",
        "O≻X",
        "O≻X→X",
        "O≻O→O",
        "X→O≻X",
        "X→O≻X→X",
    }


def test_pairs_with_the_long_way_round_are_off_by_default(tmp_path: Path) -> None:
    it = Composed(make(tmp_path, RICH))
    assert "O≻O→O" not in {pair.category for pair in it.pairs}


def test_longer_thoughts_are_preferred(tmp_path: Path) -> None:
    it = Composed(make(tmp_path, RICH, settings(policy="paper")))
    simple = [e for e in it.examples if e.set == "long" and e.category in ("O", "O→O")]
    assert sum(e.category == "O→O" for e in simple) > len(simple) / 2


def test_from_scratch_there_is_no_prefix(tmp_path: Path) -> None:
    it = Composed(make(tmp_path, RICH, prefix="none"))
    back = [e for e in it.examples if e.category == "X→O"]
    assert back
    assert all(e.prefix == "" and e.target.startswith("<think> again:") for e in back)
    mended = [p for p in it.pairs if p.category.startswith("X→O")]
    assert mended
    assert all(p.shared == "" for p in mended)


def test_a_wrong_thought_that_leaks_may_be_a_prefix_but_not_part_of_a_pair(tmp_path: Path) -> None:
    leaky = Short("B", "It matches the description, I think.", (Long("A"),))
    it = Composed(make(tmp_path, [[[leaky, Short("B", THOUGHT[1]), Short("A")]]], settings(keep=1.0)))
    (back,) = (e for e in it.examples if e.category == "X→O")
    assert back.prefix == "<think> It matches the description, I think."
    assert not any(p.category.startswith("X→O") for p in it.pairs)
    assert "prefix-dropped" in {d.reason for d in it.drops if d.stage == "preferences"}


def test_the_same_words_twice_are_one_example_and_one_pair(tmp_path: Path) -> None:
    twice = [Short("A"), Short("A"), Short("B", THOUGHT[1])]
    it = Composed(make(tmp_path, [[twice]], settings(keep=1.0)))
    assert sum(e.set == "long" for e in it.examples) == 1
    assert len(it.pairs) == 1
    assert Counter(d.reason for d in it.drops) == {"duplicate": 1, "already-chosen": 1}


def test_the_rejected_answer_is_in_the_form_asked_for(tmp_path: Path) -> None:
    it = Composed(make(tmp_path, [[[Short("A"), Short("C", THOUGHT[1])]] * 3], settings(keep=1.0)))
    answers = {it.questions[p.question].answer_format: p.rejected.split("<answer> ")[1] for p in it.pairs}
    assert answers == {"(X)": "(C) </answer>", "X.": "C. </answer>", "text": "a sign </answer>"}


def test_composing_again_gives_the_same_bytes_and_keeps_earlier_drops(tmp_path: Path) -> None:
    images = [[[Short(None), *question] for question in image] for image in RICH]
    run = make(tmp_path, images)
    compose(run)
    before = tables(run)
    compose(run)
    assert tables(run) == before
    assert sum(d.stage == "think" for d in run.records("drops", Drop)) == 30


def test_other_settings_replace_what_was_there(tmp_path: Path) -> None:
    run = make(tmp_path, RICH)
    few = compose(run)
    recipe = msgspec.structs.replace(run.recipe, curate=settings(keep=1.0, per_question=50))
    many = compose(Run.create(tmp_path, recipe))
    assert {c.stage: c.kept for c in many}["sft"] > {c.stage: c.kept for c in few}["sft"]
    check(many)


def test_a_failed_call_of_a_thought_does_not_drop_the_thought(tmp_path: Path) -> None:
    recipe = Recipe(curate=settings(keep=1.0))
    rows = records([[[Short("A"), Short("B", THOUGHT[1])]]], recipe)
    first = rows["thoughts"][0]
    assert isinstance(first, Thought)
    rows["drops"] = [
        Drop.make("think_harder", first.id, first.image, "timeout", "Wait,", index=i) for i in range(3)
    ]
    it = Composed(write(tmp_path, rows, recipe))
    check(it.counts)
    assert {c.stage: (c.made, c.kept) for c in it.counts}["think_harder"] == (3, 0)
    assert len(it.pairs) == 1


def test_a_run_of_nothing_has_empty_sets(tmp_path: Path) -> None:
    it = Composed(make(tmp_path, []))
    assert (it.examples, it.pairs, it.drops) == ([], [], [])


def test_tables_are_ordered_by_image(tmp_path: Path) -> None:
    it = Composed(make(tmp_path, RICH))
    for order in ([e.image for e in it.examples], [p.image for p in it.pairs], [d.image for d in it.drops]):
        assert order == sorted(order)


def test_a_folder_without_tables_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="lpt run"):
        compose(Run.create(tmp_path, Recipe()))


def test_a_damaged_table_is_the_disks_fault(tmp_path: Path) -> None:
    run = make(tmp_path, RICH)
    run.table_path("thoughts").write_bytes(b"PAR1 not really")
    with pytest.raises(StoreError, match="cannot be"):
        compose(run)
    assert not run.has("sft")


def test_tables_of_different_runs_are_told_apart(tmp_path: Path) -> None:
    recipe = Recipe()
    rows = records(RICH, recipe)
    rows["questions"] = rows["questions"][1:]
    with pytest.raises(StoreError, match="do not belong together"):
        compose(write(tmp_path, rows, recipe))
