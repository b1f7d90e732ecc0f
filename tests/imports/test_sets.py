"""Sets that others composed come in as runs: ours come back word for word, the odd row is a counted drop."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.curate.compose import compose
from lpt.curate.funnel import check, funnel
from lpt.errors import RunError, SourceError
from lpt.exports import export
from lpt.imports import conversations, presented
from lpt.imports.conversations import Turns
from lpt.imports.lpt30k import import_lpt30k
from lpt.imports.sharegpt import import_sharegpt
from lpt.pipeline import synthesize
from lpt.records import Example, Pair, Question, digest
from lpt.store.run import Run
from tests.captions.files import encoded, noisy, put
from tests.conftest import Sim, small_recipe

A, B = (encoded(noisy(seed=seed), "JPEG") for seed in range(2))
PROMPT = "What is it?\n(A) a cat\n(B) a dog\nGive your answer as (X), where X is the letter."
SAID = "<think> It barks. </think> <answer> (B) </answer>"


def row(**more: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": f"<image>{PROMPT}"}, {"role": "assistant", "content": SAID}],
        "images": ["a.jpg"],
        **more,
    }


def wrote(folder: Path, rows: list[Any], name: str = "set.json") -> Path:
    put(folder, "a.jpg", A, None)
    put(folder, "b.jpg", B, None)
    path = folder / name
    lines = name.endswith("l")
    path.write_text("".join(json.dumps(r) + "\n" for r in rows) if lines else json.dumps(rows))
    return path


def counts(run: Run) -> dict[str, tuple[int, dict[str, int]]]:
    check(funnel(run))
    return {count.stage: (count.kept, count.dropped) for count in funnel(run)}


@pytest.mark.parametrize("prefix", ["column", "raw"])
def test_what_was_exported_comes_back_word_for_word(sim: Sim, tmp_path: Path, prefix: str):
    theirs = synthesize(small_recipe(sim.url), tmp_path / "run")
    compose(theirs)
    export(theirs, "llamafactory", tmp_path / "out", prefix=prefix)
    ours = import_sharegpt(tmp_path / "out", tmp_path / "back").run

    def learnt(run: Run) -> list[tuple[str, ...]]:
        return sorted(
            (e.set if e.set == "direct" else "long", e.category, e.cue, e.system, e.prompt, e.prefix, e.target)
            for e in run.records("sft", Example)
            if e.set != "simple"
        )

    def preferred(run: Run) -> list[tuple[str, ...]]:
        return sorted(
            (p.category, p.system, p.prompt, p.chosen, p.rejected) for p in run.records("preferences", Pair)
        )

    assert preferred(ours) == preferred(theirs)
    assert set(learnt(theirs)) <= set(learnt(ours))
    kept, dropped = counts(ours)["sft"]
    # A thought that is in the long set and in the simple one, too, says the same twice.
    assert kept + dropped.get("duplicate", 0) == theirs.table("sft").collect().height
    assert set(dropped) <= {"duplicate"}
    asked = {
        q.prompt: (q.stem, q.options, q.answer, q.answer_format, q.system)
        for q in ours.records("questions", Question)
    }
    for question in theirs.records("questions", Question):
        assert asked[question.prompt] == (
            question.stem,
            question.options,
            question.answer,
            question.answer_format,
            question.system,
        )


def test_an_imported_run_is_shown_exported_and_not_composed(tmp_path: Path):
    made = import_sharegpt(wrote(tmp_path / "set", [row(), row(images=["b.jpg"])]), tmp_path / "run")
    exported = export(made.run, "llamafactory", tmp_path / "out")
    assert sum(exported.counts.values()) == 2
    assert exported.images == 2
    with pytest.raises(RunError, match="imported sets"):
        compose(made.run)
    example = next(made.run.records("sft", Example))
    for command in (
        ["status", tmp_path / "run"],
        ["show", tmp_path / "run"],
        ["show", tmp_path / "run", example.id],
    ):
        done = lpt(*command)
        assert done.returncode == 0, done.stderr
    assert example.image in {digest("image", A), digest("image", B)}


def test_every_row_is_kept_or_dropped_with_its_reason(tmp_path: Path):
    messages = row()["messages"]
    rows = [
        row(),
        row(),
        row(messages=messages * 2),
        row(messages=[{"role": "tool", "content": "x"}]),
        row(messages=[]),
        row(messages="not JSON"),
        row(images=[]),
        row(images=["a.jpg", "b.jpg"]),
        row(images=[{"bytes": "x"}]),
        row(images=["../a.jpg"]),
        row(images=["https://example.org/a.jpg"]),
        row(assistant_prefix="<think> It meows."),
        row(messages=[messages[0], {"role": "assistant", "content": " "}]),
        row(messages=messages[:1], chosen="yes"),
        row(messages=messages[:1], chosen=SAID, rejected=SAID),
        row(
            messages=messages[:1],
            chosen={"role": "assistant", "content": SAID},
            rejected={"from": "gpt", "value": "(A)"},
        ),
        7,
    ]
    made = import_sharegpt(wrote(tmp_path / "set", rows), tmp_path / "run")
    found = counts(made.run)
    assert found["sft"] == (
        1,
        {
            "duplicate": 1,
            "image-not-a-path": 1,
            "messages-not-understood": 2,
            "no-image": 1,
            "not-a-path": 1,
            "not-an-object": 1,
            "nothing-said": 1,
            "path-outside": 1,
            "prefix-differs": 1,
            "several-images": 1,
            "several-turns": 1,
            "unknown-role": 1,
        },
    )
    assert found["preferences"] == (1, {"side-not-understood": 1, "sides-alike": 1})
    assert found["ask"][0] == 1


def test_a_prefix_is_given_and_what_follows_is_learnt(tmp_path: Path):
    prefix = "<think> It meows."
    said = f"{prefix}\nWait, it barks. </think> <answer> (B) </answer>"
    conversation = [{"from": "human", "value": f"<image>\n{PROMPT}"}, {"from": "gpt", "value": said}]
    path = wrote(
        tmp_path / "set",
        [{"conversations": conversation, "system": "Think.", "images": "a.jpg", "assistant_prefix": prefix}],
        "set.jsonl",
    )
    (example,) = import_sharegpt(path, tmp_path / "run").run.records("sft", Example)
    assert (example.prefix, example.prefix + example.target) == (prefix, said)
    assert (example.category, example.set, example.system, example.prompt) == ("X→O", "long", "Think.", PROMPT)


def test_a_registration_says_what_columns_and_roles_are_called(tmp_path: Path):
    talk = [{"who": "person", "says": f"<image>{PROMPT}"}]
    better, worse = {"who": "robot", "says": SAID}, {"who": "robot", "says": "<answer>(A)</answer>"}
    path = wrote(tmp_path / "set", [{"talk": talk, "pics": ["a.jpg"], "good": better, "bad": worse}])
    info = {
        "mine": {
            "file_name": "set.json",
            "formatting": "sharegpt",
            "ranking": True,
            "columns": {"messages": "talk", "images": "pics", "chosen": "good", "rejected": "bad"},
            "tags": {"role_tag": "who", "content_tag": "says", "user_tag": "person", "assistant_tag": "robot"},
        }
    }
    (tmp_path / "set/dataset_info.json").write_text(json.dumps(info))
    (pair,) = import_sharegpt(path, tmp_path / "run").run.records("preferences", Pair)
    assert (pair.chosen, pair.rejected, pair.prompt) == (SAID, "<answer>(A)</answer>", PROMPT)


def test_an_image_without_a_file_goes_by_its_name_unless_a_folder_was_given(tmp_path: Path):
    path = wrote(tmp_path / "set", [row(images=["far/away.jpg"]), row()])
    made = import_sharegpt(path, tmp_path / "run")
    assert counts(made.run)["sft"] == (2, {})
    assert any("1 image files were not found" in remark for remark in made.remarks)
    made = import_sharegpt(path, tmp_path / "strict", images=tmp_path / "set")
    assert counts(made.run)["sft"] == (1, {"missing-image": 1})


def test_what_cannot_be_read_at_all_says_what_to_do(tmp_path: Path):
    with pytest.raises(SourceError, match=r"there is no .*nowhere"):
        import_sharegpt(tmp_path / "nowhere.json", tmp_path / "run")
    with pytest.raises(SourceError, match="is not a folder"):
        import_sharegpt(wrote(tmp_path / "set", [row()]), tmp_path / "run", images=tmp_path / "void")
    (tmp_path / "set/bad.json").write_text("[{")
    with pytest.raises(SourceError, match=r"bad.json is not a JSON array"):
        import_sharegpt(tmp_path / "set/bad.json", tmp_path / "run")
    with pytest.raises(
        SourceError, match=r"not one row of .* can be used .messages-not-understood.*not used: instruction"
    ):
        import_sharegpt(wrote(tmp_path / "alpaca", [{"instruction": "x", "images": ["a.jpg"]}]), tmp_path / "run")


# --- the authors' released set -----------------------------------------------------------------------------------

SHAPES: list[Any] = [
    {"messages": [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": SAID}]},
    {"role": ["user", "assistant"], "content": [PROMPT, SAID]},
    {"from": ["human", "gpt"], "value": [PROMPT, SAID]},
    {"user": PROMPT, "assistant": SAID},
    {"system": "", "user": PROMPT, "assistant": SAID},
    {"question": PROMPT, "answer": SAID},
    {"conversations": [{"from": "human", "value": f"<image>{PROMPT}"}, {"from": "gpt", "value": SAID}]},
    [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": PROMPT}]},
        {"role": "assistant", "content": SAID},
    ],
    json.dumps([{"role": "user", "content": PROMPT}, {"role": "assistant", "content": SAID}]),
]


@pytest.mark.parametrize("messages", SHAPES)
def test_messages_in_every_shape_that_can_be_understood(messages: Any):
    found = conversations.turns(messages)
    assert isinstance(found, Turns)
    assert (found.prompt, found.said, found.system) == (PROMPT, SAID, "")


@pytest.mark.parametrize("name", ["set.json", "set.jsonl", "set.parquet"])
def test_the_released_set_in_every_file_form(tmp_path: Path, name: str):
    rows = [
        {"example_id": "train_00012", "messages": SHAPES[3], "cot_type": "simple"},
        {
            "example_id": "docci/test_7_q3",
            "messages": {"user": "Describe it.", "assistant": SAID},
            "cot_type": "extended",
        },
    ]
    if name.endswith("parquet"):
        (tmp_path / "set").mkdir()
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "set" / name)
        path = tmp_path / "set" / name
    else:
        path = wrote(tmp_path / "set", rows, name)
    put(tmp_path / "docci", "train_00012.jpg", A, None)
    put(tmp_path / "docci", "test_7.jpg", B, None)
    made = import_lpt30k(path, tmp_path / "run", tmp_path / "docci")
    examples = list(made.run.records("sft", Example))
    assert {(e.category, e.image) for e in examples} == {
        ("simple", digest("image", A)),
        ("extended", digest("image", B)),
    }
    assert all(e.prefix == "" and e.target == SAID for e in examples)
    found = counts(made.run)
    assert found["ask"] == (1, {"not-multiple-choice": 1})
    assert "cot_type: simple 1, extended 1" in made.remarks
    assert any("`messages` holds assistant, user" in remark for remark in made.remarks)


def test_what_was_not_expected_is_told_and_the_rest_is_taken(tmp_path: Path):
    rows = [
        {"example_id": "a", "messages": SHAPES[3], "cot_type": "x", "split": "train"},
        {"example_id": "c", "messages": SHAPES[7], "cot_type": 3},
        {"example_id": 5, "messages": SHAPES[3], "cot_type": "x"},
        {"example_id": "b", "messages": {"steps": [1, 2]}, "cot_type": "x"},
        {"example_id": "b", "cot_type": "x"},
    ]
    path = wrote(tmp_path / "set", rows)
    made = import_lpt30k(path, tmp_path / "run")
    assert counts(made.run)["sft"] == (2, {"messages-not-understood": 2, "no-id": 1})
    said = "\n".join(made.remarks)
    for remark in (
        "1 of 5 rows: unexpected column `split`",
        "1 of 5 rows: `messages` is a list, not a dict",
        "1 of 5 rows: `cot_type` is a int, not a str",
        "1 of 5 rows: `example_id` is a int, not a str",
        "1 of 5 rows: `messages` holds steps",
        "1 of 5 rows: no `messages`",
    ):
        assert remark in said
    with pytest.raises(SourceError, match=r"not one row .*`messages` holds steps"):
        import_lpt30k(wrote(tmp_path / "odd", rows[3:4]), tmp_path / "none")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "content", "from", "value", "messages", "user", "type", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(json_values)
def test_any_messages_are_turns_or_a_reason(value: Any):
    found = conversations.turns(value)
    assert found if isinstance(found, str) else isinstance(found.prompt, str)
    assert conversations.side(value) is None or isinstance(conversations.side(value), str)


@given(st.text(max_size=300))
def test_any_prompt_is_a_question_or_a_reason(text: str):
    found = presented.read_prompt(text)
    assert found == "not-multiple-choice" or (not isinstance(found, str) and found.stem and len(found.options) >= 2)


def lpt(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lpt", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_both_commands(tmp_path: Path):
    done = lpt("import", "sharegpt", wrote(tmp_path / "set", [row(), row(tool="x")]), "--out", tmp_path / "one")
    assert done.returncode == 0, done.stderr
    assert "columns that are not used: tool" in done.stderr
    path = wrote(tmp_path / "set", [{"example_id": "a", "messages": SHAPES[3], "cot_type": "x"}], "other.json")
    done = lpt("import", "lpt30k", path, "--out", tmp_path / "two", "--images", tmp_path / "set")
    assert done.returncode == 0, done.stderr
    assert "cot_type: x 1" in done.stderr
    status = msgspec.json.decode(lpt("status", tmp_path / "two", "--json").stdout)
    assert next(stage for stage in status["stages"] if stage["stage"] == "sft")["kept"] == 1
