"""Questions of one's own, in the place of the asker's: from a file to both sets, against simulated models."""

import csv
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lpt.curate.compose import compose
from lpt.curate.funnel import check, funnel
from lpt.errors import RecipeError, SourceError
from lpt.pipeline import synthesize
from lpt.recipe import Recipe
from lpt.records import LETTERS, Caption, Question
from lpt.store.run import Run
from tests.conftest import Sim, small_recipe
from tests.test_pipeline import tables


@pytest.fixture
def asked(sim: Sim, tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    """A question set as somebody else might have it: pictures in a folder, and rows about them."""
    run = synthesize(small_recipe(sim.url), tmp_path / "theirs", until="ask")
    captions = {caption.id: caption for caption in run.records("captions", Caption)}
    rows = [
        {
            "image": captions[question.caption].path,
            "question": question.stem,
            "options": list(question.options),
            "answer": question.answer,
            "caption": captions[question.caption].text,
            "type": question.kind,
            "id": question.id[:8],
        }
        for question in run.records("questions", Question)
    ]
    return run.images, rows


def jsonl(folder: Path, rows: list[dict[str, Any]], name: str = "set.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def recipe(url: str, path: Path, images: Path, *overrides: str, source: str = "jsonl") -> Recipe:
    text = small_recipe(url, *overrides[:0]).toml()
    kept = text[: text.index("[ask]")] + text[text.index("[think]") :]
    kept = kept[kept.index("[models.") :]
    head = f'[questions]\nsource = "{source}"\npath = "{path}"\nimages = "{images}"\n'
    return Recipe.parse(head + kept, overrides=overrides)


def kept(run: Run, stage: str) -> int:
    return next((count.kept for count in funnel(run) if count.stage == stage), 0)


def reasons(run: Run, stage: str) -> dict[str, int]:
    return next((count.dropped for count in funnel(run) if count.stage == stage), {})


def test_own_questions_go_all_the_way_and_nobody_is_asked_for_any(sim: Sim, asked, tmp_path: Path):
    images, rows = asked
    before = len(sim.requests())
    run = synthesize(recipe(sim.url, jsonl(tmp_path, rows), images), tmp_path / "run")
    compose(run)
    check(funnel(run))
    assert {request["model"] for request in sim.requests()[before:]} == {"student", "reasoner"}
    assert (kept(run, "captions"), kept(run, "ask")) == (3, len(rows))
    assert kept(run, "sft") > 0
    assert kept(run, "preferences") > 0
    # What is shown is theirs, in an order and a form of ours; the right option is still the right one.
    by_stem = {(row["question"], tuple(sorted(row["options"]))): row for row in rows}
    for question in run.records("questions", Question):
        row = by_stem[question.stem, tuple(sorted(question.options))]
        assert question.answer_text == row["options"][LETTERS.index(row["answer"])]
        assert question.reply is None
    questions = run.table("questions").collect()
    assert any(
        q.options != tuple(by_stem[q.stem, tuple(sorted(q.options))]["options"])
        for q in run.records("questions", Question)
    )
    assert questions["answer_format"].n_unique() == 3
    assert questions["image"].is_sorted()
    right = run.table("thoughts").filter(pl.col("verdict") == "correct").collect().height
    assert 0.3 < right / kept(run, "think") < 0.85, "the student sees the pictures that the questions are about"


def test_a_table_a_parquet_and_a_list_of_the_same_questions_make_the_same_tables(sim: Sim, asked, tmp_path: Path):
    images, rows = asked
    made = [synthesize(recipe(sim.url, jsonl(tmp_path, rows), images), tmp_path / "jsonl", until="think")]
    with (tmp_path / "set.csv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow([*rows[0], "B", "C", "D"])
        for row in rows:
            a, b, c, d = row["options"]
            right = LETTERS.index(row["answer"]) + 1
            writer.writerow([*(row | {"options": a, "answer": right}).values(), b, c, d])
    told = ['questions.columns.options=["options", "B", "C", "D"]', 'questions.answer_as="number"']
    made.append(
        synthesize(
            recipe(sim.url, tmp_path / "set.csv", images, *told, source="csv"), tmp_path / "csv", until="think"
        )
    )
    table = [
        {
            **row,
            "image": {"bytes": (images / row["image"]).read_bytes(), "path": row["image"]},
            "answer": LETTERS.index(row["answer"]),
        }
        for row in rows
    ]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "set.parquet")
    told = ['questions.answer_as="index"']
    made.append(
        synthesize(
            recipe(sim.url, tmp_path / "set.parquet", images, *told, source="parquet"),
            tmp_path / "pq",
            until="think",
        )
    )
    first, *others = ({name: tables(run)[name] for name in ("questions", "thoughts")} for run in made)
    assert all(other == first for other in others)
    assert (made[2].images, made[1].images) == (tmp_path / "pq/images", images)


def test_the_order_of_the_images_in_a_set_does_not_matter(sim: Sim, asked, tmp_path: Path):
    images, rows = asked
    one = synthesize(recipe(sim.url, jsonl(tmp_path, rows), images), tmp_path / "one", until="think")
    turned = sorted(rows, key=lambda row: row["image"], reverse=True)  # stable: those of an image stay in order
    other = synthesize(recipe(sim.url, jsonl(tmp_path, turned), images), tmp_path / "other", until="think")
    assert tables(one) == tables(other)


def test_every_quirk_is_a_drop_of_its_stage(sim: Sim, asked, tmp_path: Path):
    images, rows = asked
    good = rows[0]
    bad = [
        {**good, "id": "a", "image": "nowhere.png"},
        {**good, "id": "b", "image": None},
        {**good, "id": "c", "caption": ["no text"]},
        {**good, "id": "d", "question": " <image> "},
        {**good, "id": "e", "options": ["one"]},
        {**good, "id": "f", "options": None},
        {**good, "id": "g", "options": [str(i) for i in range(11)]},
        {**good, "id": "h", "options": ["same", "Same.", "x", "y"], "answer": "x"},
        {**good, "id": "i", "answer": "E"},
        {**good, "id": "j", "answer": 2},
        {**good, "id": "k", "answer": None},
        {**good, "id": good["id"], "question": "Another of the same name?"},
        {**good, "id": "l"},
        {**good, "id": "m", "options": "neither a list nor letters"},
    ]
    path = jsonl(tmp_path, [good, *bad])
    with path.open("a") as file:
        file.write("{no json\n")
    run = synthesize(recipe(sim.url, path, images), tmp_path / "run", until="think")
    check(funnel(run))
    assert reasons(run, "captions") == {
        "caption-not-text": 1,
        "malformed-json": 1,
        "missing-image": 1,
        "missing-image-name": 1,
    }
    assert reasons(run, "ask") == {
        "answer-is-a-number": 1,
        "answer-not-an-option": 1,
        "asked-twice": 1,
        "duplicate-id": 1,
        "no-answer": 1,
        "no-options": 1,
        "no-stem": 1,
        "number-of-options": 2,
        "options-alike": 1,
        "options-unreadable": 1,
    }
    assert kept(run, "ask") == 1
    hint = run.table("drops").filter(pl.col("reason") == "answer-is-a-number").collect()["detail"][0]
    assert 'questions.answer_as to "index"' in hint


def test_without_captions_a_run_ends_with_the_student_and_says_so_at_the_start(sim: Sim, asked, tmp_path: Path):
    images, rows = asked
    bare = [{key: value for key, value in row.items() if key != "caption"} for row in rows]
    before = len(sim.requests())
    made = recipe(sim.url, jsonl(tmp_path, bare), images)
    with pytest.raises(SourceError, match=r"none of the 3 images has a caption.*--until think.*columns\.caption"):
        synthesize(made, tmp_path / "run")
    assert len(sim.requests()) == before
    run = synthesize(made, tmp_path / "run", until="think")
    assert kept(run, "think") > 0
    text = made.toml()
    only = Recipe.parse(text[: text.index("[think_harder]")] + text[text.index("[curate]") :])
    with pytest.raises(RecipeError, match=r"no \[think_harder\]"):
        only.check_models()
    assert tables(synthesize(only, tmp_path / "only", until="think")) == tables(run)


def test_an_image_without_a_caption_among_others_is_not_thought_harder_about(sim: Sim, asked, tmp_path: Path):
    images, rows = asked
    first = rows[0]["image"]
    mixed = [{**row, "caption": "" if row["image"] == first else row["caption"]} for row in rows]
    run = synthesize(recipe(sim.url, jsonl(tmp_path, mixed), images), tmp_path / "run")
    compose(run)
    check(funnel(run))
    captionless = run.table("captions").filter(pl.col("text") == "").collect()["image"].to_list()
    assert len(captionless) == 1
    longs = run.table("long_thoughts").collect()
    assert longs.height > 0
    assert longs.filter(pl.col("image").is_in(captionless)).is_empty()
    lost = (
        run.table("drops")
        .filter((pl.col("stage") == "think_harder") & (pl.col("reason") == "no-caption"))
        .collect()
    )
    useful = run.table("thoughts").filter(pl.col("image").is_in(captionless) & (pl.col("verdict") != "unparsed"))
    assert set(lost["record"]) == set(useful.collect()["id"])


def test_running_again_asks_for_nothing_and_a_limit_takes_the_first_rows(sim: Sim, asked, tmp_path: Path):
    images, rows = asked
    made = recipe(sim.url, jsonl(tmp_path, rows), images)
    first = tables(synthesize(made, tmp_path / "run", until="think"))
    before = len(sim.requests())
    assert tables(synthesize(made, tmp_path / "run", until="think")) == first
    assert len(sim.requests()) == before
    few = synthesize(made, tmp_path / "few", limit=2, until="think")
    assert kept(few, "ask") == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('questions.path="nowhere.jsonl"', "questions.path: there is no .*nowhere.jsonl"),
        ('questions.images="nowhere"', "there is no folder .*nowhere: set questions.images"),
        ('questions.columns.question="stem"', "not one of the .* rows .* for `no-stem`: .*`stem` is empty"),
        ('captions.path="x"', "take captions.source and captions.path out"),
        ('questions.options_from="askr"', "no .models.askr.; did you mean `asker`"),
        ('ask.model="asker"', r"\[questions\] and \[ask\]: take one out"),
    ],
)
def test_what_cannot_be_carried_out_says_what_to_do(sim: Sim, asked, tmp_path: Path, change: str, message: str):
    images, rows = asked
    with pytest.raises((SourceError, RecipeError), match=message):
        synthesize(recipe(sim.url, jsonl(tmp_path, rows), images, change), tmp_path / "run")


def test_a_table_without_a_needed_column_is_told_with_those_that_it_has(sim: Sim, asked, tmp_path: Path):
    images, _ = asked
    (tmp_path / "set.csv").write_text("image,question,choices,answer\n")
    with pytest.raises(SourceError, match=r"no column `options`; there are: .*`choices`.*questions\.columns"):
        synthesize(recipe(sim.url, tmp_path / "set.csv", images, source="csv"), tmp_path / "run")


# --- open questions ----------------------------------------------------------------------------------------------


@pytest.fixture
def options_server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A model that gives three options, or something else where the question says so."""
    sent: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.say({"object": "list", "data": [{"id": "asker", "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            sent.append(body)
            words = json.dumps(body["messages"])
            text = json.dumps({"options": ["wrong one", "wrong two", "wrong three"]})
            for mark, other in SAYS.items():
                text = other if mark in words else text
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
            self.say(
                {"id": "x", "object": "chat.completion", "model": "asker", "choices": [choice], "usage": usage}
            )

        def say(self, value: Any) -> None:
            data = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1", sent
    server.shutdown()
    thread.join()
    server.server_close()


SAYS = {
    "in lines": "- wrong one\n- wrong two\n- wrong three",
    "too few": '{"options": ["wrong one", "wrong two"]}',
    "the answer again": '{"options": ["wrong one", "Red", "wrong three"]}',
    "in no form": "I would rather not.",
}


def test_open_questions_are_given_options_and_odd_replies_are_drops(
    sim: Sim, asked, options_server: tuple[str, list[dict[str, Any]]], tmp_path: Path
):
    images, rows = asked
    url, sent = options_server
    stems = ["plainly", *SAYS]
    open_rows = [
        {**rows[0], "question": f"Which colour, {stem}?", "answer": "red", "id": stem, "options": None}
        for stem in stems
    ]
    told = ['questions.options_from="asker"', f'models.asker.url="{url}"']
    made = recipe(sim.url, jsonl(tmp_path, [*open_rows, *rows]), images, *told)
    run = synthesize(made, tmp_path / "run", until="think")
    check(funnel(run))
    given = [q for q in run.records("questions", Question) if q.stem.startswith("Which colour, ")]
    assert [q.stem for q in given] == ["Which colour, plainly?", "Which colour, in lines?"]
    for question in given:
        assert sorted(question.options) == ["red", "wrong one", "wrong three", "wrong two"]
        assert question.answer_text == "red"
    assert reasons(run, "ask") == {"options-unreadable": 2, "options-alike": 1}
    assert kept(run, "ask") == 2 + len(rows)
    assert len(sent) == len(stems)
    assert rows[0]["caption"] in json.loads(json.dumps(sent[0]))["messages"][0]["content"]
    # Through the ledger, like every other call.
    first = tables(run)
    assert tables(synthesize(made, tmp_path / "run", until="think")) == first
    assert len(sent) == len(stems)


def test_a_call_that_fails_costs_its_own_question_and_moves_no_other(start_sim, asked, tmp_path: Path):
    images, rows = asked
    opened = [{**rows[0], "question": "Open?", "options": None, "id": "open", "answer": "red"}, *rows]
    nowhere = 'models.asker.url="http://127.0.0.1:9/v1"'
    told = ['questions.options_from="asker"', nowhere, "models.asker.attempts=1"]
    url = start_sim().url
    run = synthesize(recipe(url, jsonl(tmp_path, opened), images, *told), tmp_path / "run", until="think")
    check(funnel(run))
    assert reasons(run, "ask") == {"call-failed": 1}
    assert run.failed_calls() == 1
    # The open one keeps its place: when it is asked for again, no other question becomes another one.
    about = next(q.caption for q in run.records("questions", Question) if q.stem == rows[0]["question"])
    places = [q.index for q in run.records("questions", Question) if q.caption == about]
    assert places == list(range(1, len(places) + 1))
