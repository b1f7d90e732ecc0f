from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl
import pytest
from typer.testing import CliRunner

from lpt.analyze import truth
from lpt.analyze.cues import cues
from lpt.analyze.noise import noise
from lpt.analyze.result import load
from lpt.analyze.traces import Source
from lpt.cli import app
from lpt.curate.compose import compose
from lpt.errors import UserError
from lpt.look.noise import noise as old
from lpt.pipeline import synthesize
from lpt.store.run import Run
from lpt.world.boards.talk import read
from tests.conftest import Sim, small_recipe
from tests.world.looks import by_hand


def test_cues_are_compared_on_the_same_thoughts(a_run: Run):
    with Source(a_run.path) as source:
        result = cues(source).result
    rows = {row["cue"]: row for row in result.table("cues").records()}
    assert (rows["Wait,"]["x_o"], rows["Wait,"]["o_x"], rows["Wait,"]["yield"]) == (1, 0, 1)
    assert (rows["Hmm,"]["x_o"], rows["Hmm,"]["o_x"], rows["Hmm,"]["leak"]) == (0, 1, 0.5)
    paired = {row["figure"]: row for row in result.table("paired").records()}
    assert paired["X→O"]["thoughts"] == 8
    assert paired["X→O"]["difference"] == -1
    assert paired["kept in the SFT set"]["difference"] == -1
    assert paired["unparsed"]["difference"] == 0
    assert any("no ledger" in remark for remark in result.remarks)
    cost = result.table("cost").records()
    assert [row["money"] for row in cost] == [None, None]


def test_a_run_without_long_thoughts_has_no_cues(tmp_path: Path, a_run: Run):
    with pytest.raises(UserError, match="cues are a run's"), Source(_file(tmp_path)) as source:
        cues(source)


def _file(folder: Path) -> Path:
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "<think> a </think>"}]
    file = folder / "some.json"
    file.write_bytes(msgspec.json.encode([{"messages": turns, "images": ["a.png"]}]))
    return file


def test_audited_labels_are_followed(tmp_path: Path, a_run: Run):
    ids = a_run.table("questions").select("id").collect()["id"].to_list()
    labels = tmp_path / "labels.jsonl"
    rows = [{"question": id_, "right": number >= 2, "answer": "B"} for number, id_ in enumerate(ids)]
    labels.write_bytes(b"\n".join(map(msgspec.json.encode, rows)) + b"\n\n")
    with Source(a_run.path) as source:
        result = noise(source, labels).result
    stages = {row["after"]: row for row in result.table("stages").records()}
    assert stages["ask: questions"]["wrong"] == 2
    assert stages["SFT set"]["wrong"] == 4
    assert stages["SFT set"]["share"] == 0.25
    verdicts = {row["verdict"]: row for row in result.table("verdicts").records()}
    # Two questions' right answer is B in truth: what was graded correct there is false, and B was graded wrong.
    assert verdicts["think: graded correct"]["wrong"] == 2
    assert verdicts["think: graded wrong"]["wrong"] == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [('{"question": "nobody", "right": true}', "has no question"), ("{}", "a line is"), ("nonsense", "line 1")],
)
def test_labels_that_cannot_be_used_are_named(tmp_path: Path, a_run: Run, line: str, words: str):
    labels = tmp_path / "labels.jsonl"
    labels.write_text(line)
    with pytest.raises(UserError, match=words), Source(a_run.path) as source:
        noise(source, labels)


def test_without_truth_there_is_no_noise(a_run: Run):
    with pytest.raises(UserError, match="--labels"), Source(a_run.path) as source:
        noise(source)


def test_boards_tell_the_truth(tmp_path: Path, start_sim: Callable[..., Sim]):
    server = start_sim("--dial", "wrong_answer=0.4")
    recipe = small_recipe(
        server.url,
        'captions.source="boards"',
        'captions.style="plain"',
        'models.asker.model="board-asker"',
        scenes=4,
    )
    run = synthesize(recipe, tmp_path / "run", until="ask")
    told = {question: (wrong, letter) for question, wrong, letter in truth.of_world(run).iter_rows()}
    captions = dict(run.table("captions").select("id", "text").collect().iter_rows())
    columns = ("id", "caption", "stem", "options", "answer")
    asked = run.table("questions").select(columns).collect().rows()
    assert len({wrong for wrong, _ in told.values()}) == 2
    for id_, caption, stem, options, answer in asked:
        board = read(captions[caption])
        assert board
        right = by_hand(board, stem)
        assert told[id_] == (right != options["ABCD".index(answer)], "ABCD"[options.index(right)])


def test_scenes_tell_the_truth_and_the_ledger_the_cost(tmp_path: Path, start_sim: Callable[..., Sim]):
    """A whole run, through the command line: the same wrong labels as `lpt status`, and tokens that were paid."""
    server = start_sim("--dial", "wrong_answer=0.4")
    run = synthesize(small_recipe(server.url, scenes=2), tmp_path / "run")
    compose(run)
    wrong = set(truth.of_world(run).filter(pl.col("wrong"))["question"])
    assert wrong
    for verb in ("behaviours", "lengths", "cues", "noise"):
        done = CliRunner().invoke(app, ["analyze", verb, str(run.path)])
        assert done.exit_code == 0, done.output
        first = (run.path / "analyze" / f"{verb}.json").read_bytes()
        again = CliRunner().invoke(app, ["analyze", verb, str(run.path), "--json"])
        assert msgspec.json.decode(again.stdout) == msgspec.json.decode(first)
        assert (run.path / "analyze" / f"{verb}.json").read_bytes() == first
        result = load(run.path / "analyze" / f"{verb}.json")
        for figure in result.figures:
            assert (run.path / "analyze" / figure.file).read_text().startswith("<svg")
        for table in result.tables:
            assert (run.path / "analyze" / f"{verb}.{table.name}.csv").read_text().count("\n") == len(
                table.rows
            ) + 1
    told = {row["after"]: row for row in load(run.path / "analyze" / "noise.json").table("stages").records()}
    before = {row.after: row for row in old(run) or []}
    assert told["ask: questions"]["wrong"] == len(wrong) == before["ask"].wrong
    assert told["SFT set"]["wrong"] == before["SFT set"].wrong
    cost = load(run.path / "analyze" / "cues.json").table("cost").records()
    assert all(int(row["tokens_out"] or 0) > 0 for row in cost if row["kept"])
