"""The authors' recorded outputs become an ordinary run, and the odd row becomes a drop."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lpt.curate.compose import compose
from lpt.curate.funnel import check, funnel
from lpt.errors import UserError
from lpt.imports import presented
from lpt.imports.published import import_published
from lpt.records import Caption, Drop, Example, LongThought, Pair, Question, Thought
from lpt.store.run import Run
from lpt.synthesis.leaks import caption_phrases, prompt_phrases

SAMPLE = Path(os.environ.get("LPT_PUBLISHED_SAMPLE") or Path(__file__).parents[3] / "shared" / "published_sample")
sample = pytest.mark.skipif(
    not SAMPLE.is_dir(), reason=f"the published sample is not at {SAMPLE} (set LPT_PUBLISHED_SAMPLE)"
)
unnamed = pytest.mark.filterwarnings("ignore:no image files were given")

STEM = "What is on the left?"
CHOICES = "(A) a cube (B) a sphere (C) a sign saying (B) go (D) a wall"
SYSTEM = "Think. Please provide your answer as (X), where X is the letter of the correct option."


def prompt(stem: str = STEM, system: str = SYSTEM, options: str = "") -> str:
    shown = options or "(A) a sphere\n(B) a wall\n(C) a cube\n(D) a sign saying (B) go"
    return (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n"
        f"<|vision_start|><|image_pad|><|vision_end|>{stem}\nSelect from the following choices.\n{shown}"
        "<|im_end|>\n<|im_start|>assistant\n"
    )


def question(key: str, **changes: str) -> dict[str, str]:
    row = {
        "image_id": "train_0",
        "mcq_question": STEM,
        "mcq_choices": CHOICES,
        "mcq_answer": "a cube",
        "mcq_question_type": "Spatial and Relational Reasoning",
        "mcq_unique_id": key,
        "mcq_is_valid": "True",
    }
    return row | changes


def lay_out(
    folder: Path,
    *,
    questions: list[dict[str, str]] | None = None,
    shown: list[dict[str, Any]] | None = None,
    continued: list[dict[str, Any]] | None = None,
) -> Path:
    """A folder in the published layout, with words of our own."""
    meta = {"metadata": {"mcq_unique_id": "q0"}}
    rows = questions if questions is not None else [question("q0")]
    thoughts = [
        "<think> It Has six faces.</think>\n<answer>C</answer>",
        "<think>It is round. It must Be a sphere.</think><answer>(A) a sphere</answer>",
        "<think>It is round",
    ]
    first = [{"prompt": prompt(), "predict": thoughts, "label": "", "metadata": meta}]
    answer = "\n</think>\n\n<answer>(C)</answer>"
    second = [
        {
            "simple_cot": "<think>\nOkay.\n\nIt has six faces.",
            "predict": ["\nWait, I count them once more: there are six." + answer, " Wait, I see"],
            "metadata": meta,
        },
        {
            "simple_cot": "<think>\nOkay.\n\nIt is round. it must be a sphere.",
            "predict": [".\nWait, no: I look again, and it has edges." + answer, "No cue at all." + answer],
            "metadata": meta,
        },
        {"simple_cot": "<think>\nOkay.\n\nSomething else.", "predict": ["\nWait, so." + answer], "metadata": meta},
    ]
    (folder / "stage_2_simple_cot" / "x").mkdir(parents=True)
    (folder / "stage_3_expand_cot" / "x").mkdir(parents=True)
    caption = {"split": "train", "example_id": "train_0", "image_file": "train_0.jpg", "description": "A cube."}
    (folder / "docci_descriptions.jsonlines").write_text(json.dumps(caption) + "\n")
    pl.DataFrame(rows).write_csv(folder / "docci_mcq.csv")
    for name, lines in (
        ("stage_2_simple_cot/x/0_1000.jsonl", first if shown is None else shown),
        ("stage_3_expand_cot/x/Wait,_0_500.jsonl", second if continued is None else continued),
    ):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def reasons(run: Run) -> Counter[tuple[str, str]]:
    return Counter((drop.stage, drop.reason) for drop in run.records("drops", Drop))


@unnamed
def test_a_small_layout_is_joined_with_its_casing(tmp_path: Path) -> None:
    run = import_published(lay_out(tmp_path / "in"), tmp_path / "run")
    (asked,) = run.records("questions", Question)
    assert asked.options == ("a sphere", "a wall", "a cube", "a sign saying (B) go")
    assert (asked.answer, asked.answer_format, asked.kind, asked.reply) == ("C", "(X)", "spatial", None)
    assert asked.prompt.startswith(f"{STEM}\nSelect")
    thoughts = list(run.records("thoughts", Thought))
    assert [t.verdict for t in thoughts] == ["correct", "wrong", "unparsed"]
    assert thoughts[1].thought == "It is round. It must Be a sphere."
    longs = list(run.records("long_thoughts", LongThought))
    assert [(t.joint, t.cue, t.continuation) for t in longs] == [
        ("\n", "Wait,", " I count them once more: there are six."),
        (" ", "Wait,", " I see"),
        (".\n", "Wait,", " no: I look again, and it has edges."),
    ]
    assert longs[2].prefix == thoughts[1].thought
    assert [(t.before, t.verdict) for t in longs] == [
        ("correct", "correct"),
        ("correct", "unparsed"),
        ("wrong", "correct"),
    ]
    assert reasons(run) == {
        ("think", "unfinished"): 1,
        ("think_harder", "unfinished"): 1,
        ("think_harder", "no-cue"): 1,
        ("think_harder", "no-such-thought"): 1,
    }
    check(compose(run))
    assert {c.stage: c.made for c in funnel(run)}["think_harder"] == 5


@unnamed
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"mcq_answer": "a cone"}, "answer-not-an-option"),
        ({"mcq_is_valid": "False"}, "invalid"),
        ({"mcq_question": "What is it?"}, "stem-not-shown"),
        ({"mcq_choices": "(A) a cube (B) a sphere"}, "options-differ"),
        ({"image_id": "train_9"}, "no-such-caption"),
    ],
)
def test_an_invalid_question_is_a_drop(tmp_path: Path, changes: dict[str, str], reason: str) -> None:
    run = import_published(lay_out(tmp_path / "in", questions=[question("q0", **changes)]), tmp_path / "run")
    assert reasons(run)["ask", reason] == 1
    assert not list(run.records("questions", Question))
    check(compose(run))


@unnamed
def test_rows_of_unknown_questions_are_drops(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "in", questions=[question("q1")])
    run = import_published(folder, tmp_path / "run")
    assert reasons(run) == {
        ("ask", "never-shown"): 1,
        ("think", "no-such-question"): 1,
        ("think_harder", "no-such-question"): 3,
    }
    check(compose(run))


def test_a_question_that_repeats_its_own_text_is_read() -> None:
    stem = "Which sign says\n(A) or (B)?"
    options = "(A) a sphere\n(B) a wall\nof stone\n(C) a cube\n(D) a sign"
    row = question("q", mcq_question=stem, mcq_choices="(A) a cube (B) a sign (C) a wall\nof stone (D) a sphere")
    shown = presented.read(prompt(stem, options=options), row)
    assert isinstance(shown, presented.Shown)
    assert shown.options == ("a sphere", "a wall\nof stone", "a cube", "a sign")
    assert shown.answer == "C"


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("Please provide your answer as (X), where X is the letter.", "(X)"),
        ("Please provide your answer as X., where X is the letter.", "X."),
        ("Please answer with the full text of the correct option.", "text"),
    ],
)
def test_the_answer_format_is_read_from_the_prompt(system: str, expected: str) -> None:
    shown = presented.read(prompt(system=system), question("q"))
    assert isinstance(shown, presented.Shown)
    assert shown.answer_format == expected


def test_without_a_known_format_or_with_two_right_options_a_question_is_invalid() -> None:
    assert presented.read(prompt(system="Think."), question("q")) == "no-answer-format"
    twice = question("q", mcq_choices="(A) a cube (B) A cube")
    assert presented.read(prompt(options="(A) a cube\n(B) A cube"), twice) == "options-alike"
    assert presented.read(None, question("q")) == "stem-not-shown"


def test_without_images_a_warning_says_so_and_with_them_their_bytes_count(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "in")
    with pytest.warns(UserWarning, match="--images"):
        (named,) = import_published(folder, tmp_path / "a").records("captions", Caption)
    images = tmp_path / "images"
    images.mkdir()
    (images / "train_0.jpg").write_bytes(b"some bytes")
    run = import_published(folder, tmp_path / "b", images)
    (hashed,) = run.records("captions", Caption)
    assert hashed.image != named.image
    assert (Run.open(run.path).images / hashed.path).read_bytes() == b"some bytes"
    (images / "train_0.jpg").unlink()
    assert reasons(import_published(folder, tmp_path / "c", images))["captions", "missing-image"] == 1


@unnamed
@pytest.mark.parametrize(
    "name", ["docci_descriptions.jsonlines", "docci_mcq.csv", "stage_2_simple_cot", "stage_3_expand_cot"]
)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = lay_out(tmp_path / "in")
    (folder / name).rename(tmp_path / "away")
    with pytest.raises(UserError, match=name):
        import_published(folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        import_published(tmp_path / "nowhere", tmp_path / "run")


@unnamed
def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "in")
    (folder / "docci_descriptions.jsonlines").write_text("{oops\n")
    with pytest.raises(UserError, match="jsonlines, line 1"):
        import_published(folder, tmp_path / "run")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.warns(UserWarning, match="3 images are known by their recorded names"):
        run = import_published(SAMPLE, tmp_path_factory.mktemp("published"))
    compose(run)
    return run


@sample
def test_everything_that_was_recorded_is_there(published: Run) -> None:
    counts = funnel(published)
    check(counts)
    made = {count.stage: count.made for count in counts}
    assert (made["captions"], made["ask"]) == (3, 24)
    assert (made["think"], made["think_harder"]) == (240, 720)
    assert {c.stage: c.dropped for c in counts}["ask"] == {}
    assert {c.stage: c.dropped for c in counts}["think_harder"] == {"unfinished": 34}


@sample
def test_the_prefixes_have_the_students_own_casing(published: Run) -> None:
    thoughts = {t.id: t.thought for t in published.records("thoughts", Thought)}
    for long in published.records("long_thoughts", LongThought):
        assert long.prefix == thoughts[long.thought]
        assert long.cue == "Wait,"
        assert long.joint in ("\n", " ", ".\n")


@sample
def test_no_leak_is_learnt_of_real_text(published: Run) -> None:
    examples = list(published.records("sft", Example))
    pairs = list(published.records("preferences", Pair))
    assert len(examples) > 50
    assert len(pairs) > 50
    learnt = [e.target for e in examples] + [side for p in pairs for side in (p.chosen, p.rejected)]
    texts = pl.Series("learnt", learnt)
    assert caption_phrases(texts).null_count() == len(learnt)
    assert prompt_phrases(texts).null_count() == len(learnt)
    assert not texts.str.contains(r"[a-z]\. so,|[a-z]\. the [a-z]+ ").any()


@sample
def test_every_published_example_has_the_verdict_that_its_place_implies(published: Run) -> None:
    def words(text: str) -> str:
        return "".join(c for c in text.lower() if c.isalnum())

    thoughts = list(published.records("thoughts", Thought))
    longs = list(published.records("long_thoughts", LongThought))
    said: dict[str, list[Thought | LongThought]] = {}
    for thought in thoughts:
        said.setdefault(words(thought.thought), []).append(thought)
    for long in longs:
        said.setdefault(words(long.prefix + long.added), []).append(long)

    def check_side(content: str, verdict: str, before: str | None = None) -> int:
        rows = said[words(content.partition("</think>")[0].removeprefix("<think>"))]
        assert any(row.verdict == verdict for row in rows)
        if before:
            assert any(isinstance(row, LongThought) and row.before == before for row in rows)
        return 1

    sides = 0
    for row in json.loads((SAMPLE / "sft_docci_all_extended_cots.json").read_text()):
        before = "wrong" if row["assistant_prefix"] else None
        sides += check_side(row["messages"][-1]["content"], "correct", before)
    for row in json.loads((SAMPLE / "sft_docci_all_simple_cots_weighted_sample.json").read_text()):
        sides += check_side(row["messages"][-1]["content"], "correct")
    for name, before in (("O", None), ("X_O", "wrong")):
        for row in json.loads((SAMPLE / f"dpo_docci_all_extended_cots_{name}.json").read_text()):
            sides += check_side(row["chosen"]["content"], "correct", before)
            sides += check_side(row["rejected"]["content"], "wrong")
    assert sides == 264
