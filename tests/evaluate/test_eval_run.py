"""`lpt eval run` over HTTP: what is asked, what is graded, what is written, and what a second run asks.

In this process; the command line: test_eval_command.py.
"""

from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from aiohttp import web

from lpt.cli import eval as eval_
from lpt.errors import Denied, RunError, UserError
from lpt.evaluate import registry
from lpt.evaluate.columns import SCHEMA
from lpt.evaluate.protocols import protocol
from lpt.evaluate.run import Plan, evaluate
from lpt.evaluate.summary import Figures, figures
from lpt.settings import ModelSettings
from tests.evaluate import made
from tests.evaluate.answering import Asked, Server, answering

pytest.importorskip("inspect_ai")
pytestmark = pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning")  # Inspect's own


def plan(out: Path, url: str, data: Path, **more: Any) -> Plan:
    names = more.pop("benchmarks", "mmvp")
    settings = ModelSettings(model="m", url=url, attempts=1, sampling_seed=True, **more.pop("settings", {}))
    given: dict[str, Any] = {"protocol": protocol("paper")}
    return Plan(
        out=out, model="m", settings=settings, benchmarks=registry.benchmarks(names), data=data, **(given | more)
    )


def scores(out: Path) -> pl.DataFrame:
    return pl.read_parquet(out / "scores.parquet")


def said(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode((out / "eval.json").read_bytes())
    return found


def told(out: Path, name: str = "mmvp") -> Figures:
    rows = scores(out)
    return figures(name, rows.filter(rows["benchmark"] == name), said(out)["benchmarks"][name])


def test_an_evaluation_leaves_scores_of_what_was_seen(server: Server, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate(plan(out, server.url, data))
    rows = scores(out)
    assert dict(rows.schema) == SCHEMA
    assert rows["item"].to_list() == ["1", "2", "3", "4"]
    assert rows["outcome"].to_list() == ["right"] * 4
    assert rows["answer"].to_list() == ["A", "B", "A", "B"]
    assert rows["reply"][0] == "<think> I see red. </think> <answer>(A)</answer>"
    assert rows["published"].all()
    assert rows["tokens_out"][0] == 6
    record = said(out)
    assert record["model"] == "m"
    assert record["protocol"]["name"] == "paper"
    assert record["benchmarks"]["mmvp"]["count"] == 4
    assert told(out).metrics == {"questions": 1.0, "pairs": 1.0}
    assert list((out / "logs").glob("*.eval"))


def test_what_is_sent_is_what_the_protocol_says(server: Server, tmp_path: Path) -> None:
    made.mmvp(tmp_path / "data", size=(1000, 600))
    evaluate(plan(tmp_path / "paper", server.url, tmp_path / "data"))
    first = server.asked[0]
    assert first.pictures[0].size == (512, 307)
    assert (first.body["temperature"], first.body["max_tokens"], first.body["model"]) == (0, 1024, "m")
    assert first.text.startswith("What color is it?\n(A) red\n(B) blue\n")
    evaluate(plan(tmp_path / "native", server.url, tmp_path / "data", protocol=protocol("native")))
    last = server.asked[-1]
    assert last.pictures[0].size == (1000, 600)
    assert last.body["max_tokens"] == 8192


def test_the_same_command_again_asks_nothing(server: Server, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate(plan(out, server.url, data))
    before = scores(out)
    assert len(server.asked) == 4
    evaluate(plan(out, server.url, data))
    assert len(server.asked) == 4
    assert scores(out).equals(before)  # tokens, too


def test_samples_have_seeds_of_their_own_and_more_are_asked_for_one_by_one(
    server: Server, data: Path, tmp_path: Path
) -> None:
    two, three = (protocol("paper", samples=n, temperature=0.7) for n in (2, 3))
    evaluate(plan(tmp_path / "a", server.url, data, protocol=two))
    seeds = {(asked.color, asked.body["seed"]) for asked in server.asked}
    assert len(seeds) == 8
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "ledger.sqlite").write_bytes((tmp_path / "a" / "ledger.sqlite").read_bytes())
    evaluate(plan(tmp_path / "b", server.url, data, protocol=three))
    assert len(server.asked) == 12
    assert scores(tmp_path / "b")["sample"].to_list() == [0, 1, 2] * 4


def test_the_plurality_is_of_answers(data: Path, tmp_path: Path) -> None:
    """Two of five say what is right; the other three each err in another way, or say nothing."""
    seen: dict[str, int] = {}

    def says(asked: Asked) -> str:
        key = asked.color
        seen[key] = seen.get(key, 0) + 1
        return ("<answer>(A)</answer>", "<answer>(A)</answer>", "<answer>(B)</answer>", "none", "?")[seen[key] % 5]

    with answering(says) as server:
        five = protocol("paper", samples=5, temperature=1.0)
        evaluate(plan(tmp_path / "out", server.url, data, protocol=five, limit=1, connections=1))
    found = told(tmp_path / "out")
    assert found.plurality == 0.5  # of red and blue, A is right for red
    assert found.metrics["questions"] == pytest.approx((2 / 5 + 1 / 5) / 2)


def test_errors_unparsed_and_wrong_are_told_apart(data: Path, tmp_path: Path) -> None:
    made.mmvp(data / "mmvp", pairs=3)
    (data / "mmvp" / "MMVP Images" / "5.jpg").unlink()
    made.file(data / "mmvp" / "MMVP Images" / "6.jpg", b"\xff\xd8\xff no picture")
    count = iter(range(100))

    def says(_asked: Asked) -> Any:
        answers = ["<answer>(A)</answer>", "<answer>(A)</answer>", ("<think> I am", "length")]
        number = next(count)
        return answers[number] if number < 3 else web.json_response({"error": {"message": "too odd"}}, status=400)

    out = tmp_path / "out"
    with answering(says) as server:
        evaluate(plan(out, server.url, data, connections=1))
        rows = scores(out)
        assert rows["outcome"].to_list() == ["right", "wrong", "unparsed", "error", "error", "error"]
        assert rows["reason"][2] == "truncated"
        assert rows["truncated"].to_list() == [False, False, True, False, False, False]
        assert rows["reason"][3].startswith("http-400: ")
        assert rows["reason"][4].startswith("missing-image: ")
        assert rows["reason"][5].startswith("broken-image: ")
        found = told(out)
        assert (found.right, found.wrong, found.unparsed, found.errors) == (1, 1, 1, 3)
        assert found.parsed == pytest.approx(2 / 3)
        assert found.metrics["questions"] == pytest.approx(1 / 3)
        assert any("cut at the limit" in warning for warning in found.warnings)
        server.says = lambda _: "<answer>(B)</answer>"
        made.file(data / "mmvp" / "MMVP Images" / "5.jpg", made.picture("red"))
        evaluate(plan(out, server.url, data, connections=1))
        assert scores(out)["outcome"].to_list() == ["right", "wrong", "unparsed", "right", "wrong", "error"]
        assert len(server.asked) == 6  # the failed one, and the one whose picture came


def test_a_key_that_is_refused_ends_the_run_and_nothing_is_called_wrong(data: Path, tmp_path: Path) -> None:
    def says(_asked: Asked) -> web.Response:
        return web.json_response({"error": {"message": "wrong key"}}, status=401)

    with answering(says) as server, pytest.raises(Denied):
        evaluate(plan(tmp_path / "out", server.url, data))
    assert not (tmp_path / "out" / "scores.parquet").exists()
    assert len(server.asked) < 5


def test_a_missing_key_is_said_and_no_key_is_written(
    server: Server, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LPT_TEST_KEY", raising=False)
    with pytest.raises(UserError, match="LPT_TEST_KEY"):
        evaluate(plan(tmp_path / "out", server.url, data, settings={"key_env": "LPT_TEST_KEY"}))
    monkeypatch.setenv("LPT_TEST_KEY", "sk-canary-4711")
    evaluate(plan(tmp_path / "out", server.url, data, settings={"key_env": "LPT_TEST_KEY"}))
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or b"sk-canary-4711" not in path.read_bytes()


def test_another_model_or_protocol_needs_another_folder(server: Server, data: Path, tmp_path: Path) -> None:
    evaluate(plan(tmp_path / "out", server.url, data))
    with pytest.raises(RunError, match="needs another --out"):
        evaluate(plan(tmp_path / "out", server.url, data, protocol=protocol("direct")))


def test_benchmarks_are_added_to_what_is_there(server: Server, data: Path, tmp_path: Path) -> None:
    made.vstar(data / "vstar")
    out = tmp_path / "out"
    evaluate(plan(out, server.url, data))
    evaluate(plan(out, server.url, data, benchmarks="vstar"))
    rows = scores(out)
    assert rows["benchmark"].to_list() == ["mmvp"] * 4 + ["vstar"] * 3
    assert rows.filter(rows["benchmark"] == "vstar")["outcome"].to_list() == ["wrong", "wrong", "wrong"]
    assert set(said(out)["benchmarks"]) == {"mmvp", "vstar"}


def test_sounds_several_pictures_text_alone_and_open_answers(data: Path, tmp_path: Path) -> None:
    made.mmau(data / "mmau")
    made.nieh(data / "nieh")
    made.mmlu(data / "mmlu-pro")

    def says(asked: Asked) -> str:
        kinds = [part["type"] for part in asked.parts]
        if "input_audio" in kinds:
            sound = asked.parts[0]["input_audio"]
            assert sound["format"] == "wav"
            return "<answer>a cat</answer>"
        if not asked.pictures:
            return "<answer>(J)</answer>"
        return "<answer>on the desk</answer>" if len(asked.pictures) == 1 else "<answer>Yes.</answer>"

    out = tmp_path / "out"
    with answering(says) as server:
        evaluate(plan(out, server.url, data, benchmarks="mmau,nieh,mmlu-pro"))
    rows = scores(out)
    assert rows["outcome"].to_list() == ["right", "wrong", "right", "right", "right"]
    assert rows["benchmark"].to_list() == ["mmau", "mmau", "mmlu-pro", "nieh", "nieh"]
    assert told(out, "nieh").metrics["graded"] == 1.0
    (mmlu,) = (asked for asked in server.asked if asked.body["max_tokens"] == 2048)
    assert "(J) 2" in mmlu.text


def test_a_judge_reads_what_the_grader_cannot_and_never_guesses(data: Path, tmp_path: Path) -> None:
    def says(asked: Asked) -> str:
        if asked.body["model"] == "judge":
            return "<answer>A</answer>" if "reddish" in asked.text else "<answer>Z</answer>"
        return "Reddish, I would say; the reddish one." if asked.color == "red" else "Hard to tell."

    with answering(says) as server:
        judge = ModelSettings(model="judge", url=server.url)
        evaluate(plan(tmp_path / "out", server.url, data, judge=judge))
        rows = scores(tmp_path / "out")
        assert rows["outcome"].to_list() == ["right", "unparsed", "right", "unparsed"]
        assert rows["reason"].to_list() == ["judged", "no-option", "judged", "no-option"]
        shown = next(asked for asked in server.asked if asked.body["model"] == "judge")
    assert not shown.pictures
    assert "What color is it?" not in shown.text  # it reads, and does not answer
    assert told(tmp_path / "out").judged == 2


def test_published_verdicts_are_kept_and_their_inflation_is_named(data: Path, tmp_path: Path) -> None:
    with answering(lambda _: "<answer>blue</answer>") as server:
        evaluate(plan(tmp_path / "out", server.url, data))
    found = told(tmp_path / "out")
    assert found.metrics["questions"] == 0.5
    assert found.published == {"questions": 1.0, "pairs": 1.0}
    assert found.inflation == 0.5


def test_a_model_is_a_recipes_a_checkpoint_or_at_a_url(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"1")
    name, settings = eval_._model("--model", str(tmp_path), [], None, None, None)
    assert name == tmp_path.name
    assert settings.launch
    assert settings.launch.startswith("lpt serve ")
    (tmp_path / "model.safetensors").write_bytes(b"22")
    assert eval_._model("--model", str(tmp_path), [], None, None, None)[1].version != settings.version
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[captions]\nsource="scenes"\n[ask]\nmodel="a"\n[models.a]\nmodel="x"\nurl="http://h/v1"\n')
    assert eval_._model("--model", "a", [], None, None, recipe)[0] == "x"
    with pytest.raises(UserError, match=r"no \[models.b\]"):
        eval_._model("--model", "b", [], None, None, recipe)
    with pytest.raises(UserError, match="say where it is served"):
        eval_._model("--model", "x", [], None, None, None)
