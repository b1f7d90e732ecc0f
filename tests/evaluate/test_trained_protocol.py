"""`lpt eval run --protocol trained`: a model is asked as its recipe's [think] asked it, to the byte."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from typer.testing import CliRunner

from lpt.captions.prepare import prepare
from lpt.cli import app
from lpt.cli import eval as eval_
from lpt.errors import UserError
from lpt.evaluate.benchmarks import boards_bench
from lpt.evaluate.items import Item
from lpt.evaluate.protocols import PROTOCOLS, Protocol, protocol
from lpt.models import wire
from lpt.recipe import Recipe
from lpt.synthesis.present import prompt
from lpt.synthesis.think import system, think
from tests.evaluate.answering import Asked, Server, answering
from tests.scripted import Scripted, question

WORDS = "Look, think, then answer."
RECIPE = """
[captions]
max_pixels = 10000
quality = 80
[think]
model = "student"
prompt = "look.txt"
formats = ["text", "(X)"]
[models.student]
model = "base"
url = "http://127.0.0.1:9/v1"
"""
"""Its pictures are smaller than the benchmark's, so that it shows whether that is heard."""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "look.txt").write_text(f"{WORDS}\n")
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def student() -> Iterator[Server]:
    """A model that always says what the miniature's student would: a thought, then an option's text."""

    def says(asked: Asked) -> str:
        return f"<think> From a1 I come to it. </think> <answer> {asked.text.splitlines()[-2][4:]} </answer>"

    with answering(says) as found:
        yield found


def trained(recipe: Path, **more: Any) -> Protocol:
    given = Recipe.load(recipe)
    return protocol("trained", think=given.think, captions=given.captions, **more)


def run(*words: object) -> Any:
    return CliRunner().invoke(app, ["eval", "run", *map(str, words)])


@pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning")  # Inspect's own
def test_it_asks_as_the_pipeline_does(student: Server, recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai")
    out = tmp_path / "out"
    words = ("-m", "sft", "--url", student.url, "-b", "boards-bench-small", "--limit", 64, "-o", out)
    done = run(*words, "--recipe", recipe, "--protocol", "trained", "--max-tokens", 96)
    assert done.exit_code == 0, done.output
    rows = pl.read_parquet(out / "scores.parquet")
    items = {item.id: item for item in boards_bench.items(sets=4)}
    assert {bool(items[name].media) for name in rows["item"]} == {True, False}
    sent = [asked.body for asked in student.asked]
    assert len(sent) == len(rows)
    for body in sent:
        assert (body["model"], body["temperature"], body["max_tokens"]) == ("sft", 0, 96)
    expected = [as_the_pipeline(items[name], recipe, tmp_path) for name in rows["item"]]
    assert sorted(json.dumps(body["messages"]) for body in sent) == sorted(map(json.dumps, expected))
    assert rows["outcome"].is_in(["right", "wrong"]).all()
    said = json.loads((out / "eval.json").read_bytes())["protocol"]
    assert (said["name"], said["system"], said["format"]) == ("trained*", WORDS, "text")
    assert (said["pixels"], said["quality"]) == ("area 10000", 80)


def as_the_pipeline(item: Item, recipe: Path, folder: Path) -> Any:
    """What the stage that made the training data sends of a question."""
    given = Recipe.load(recipe)
    assert given.think
    asked = question(system=system(given.think), prompt=prompt(item.question, item.options, "text"))
    model = Scripted("-")
    path = folder / "picture.png"
    if item.media:
        path.write_bytes(boards_bench.picture(str(item.media[0].path), sets=4))
    else:  # the pipeline has no questions without a picture: the same without it
        path.write_bytes(boards_bench.picture("near/follow-1/000-0.png", sets=4))
    image = prepare(path, "any", given.captions)
    asyncio.run(think(model, asked, image, given.think, seed=0))
    turns = model.requests[0].messages
    if not item.media:
        turns = tuple(msgspec.structs.replace(turn, images=()) for turn in turns)
    return json.loads(msgspec.json.encode([wire.message(turn) for turn in turns]))


@pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning")
def test_the_other_protocols_ask_as_before_beside_a_recipe(student: Server, recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai")
    out = tmp_path / "out"
    words = ("-m", "sft", "--url", student.url, "-b", "boards-bench-small", "--limit", 1, "-o", out)
    assert run(*words, "--recipe", recipe).exit_code == 0
    for asked in student.asked:
        assert [said["role"] for said in asked.body["messages"]] == ["user"]
        assert asked.text.endswith("between <answer> and </answer>.")
        assert asked.body["max_tokens"] == 1024
    said = json.loads((out / "eval.json").read_bytes())["protocol"]
    assert said == PROTOCOLS["paper"].settings()
    assert not {"system", "format", "quality"} & said.keys()  # so that what was begun before still goes on


def test_its_fingerprint_is_of_the_system_message_and_the_format(recipe: Path) -> None:
    def other(*changes: str) -> str:
        given = Recipe.load(recipe, changes)
        return protocol("trained", think=given.think, captions=given.captions).prompt_fingerprint

    prints = [other(), other('think.formats=["(X)"]')]
    (recipe.parent / "more.txt").write_text(f"{WORDS} Twice.")
    prints += [other('think.prompt="more.txt"'), PROTOCOLS["paper"].prompt_fingerprint]
    assert len(set(prints)) == 4
    assert other("think.samples=9") == prints[0]
    assert trained(recipe).name == "trained"
    assert trained(recipe).max_tokens == 1024
    assert trained(recipe, longest_side=56).longest_side == 56


def test_without_the_words_of_a_recipe_it_is_refused(recipe: Path, tmp_path: Path) -> None:
    words = ("-m", "sft", "--url", "http://h/v1", "-b", "mmvp", "-o", tmp_path / "o", "--protocol", "trained")
    recipe.write_text('[captions]\nsource="scenes"\n')
    for more in ((), ("--recipe", recipe)):
        done = run(*words, *more)
        assert isinstance(done.exception, UserError)
        assert "--recipe" in str(done.exception)
        assert "[think]" in str(done.exception)
    assert not (tmp_path / "o").exists()


def test_beside_a_recipe_a_model_may_still_be_a_checkpoint_or_at_a_url(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "sft").mkdir()
    (tmp_path / "sft" / "config.json").write_text("{}")
    assert eval_._model("--model", "student", [], None, None, recipe)[0] == "base"
    name, settings = eval_._model("--model", str(tmp_path / "sft"), [], None, None, recipe)
    assert (name, settings.url) == ("sft", None)
    # A URL says which model is meant, whatever the recipe calls by that name.
    name, settings = eval_._model("--model", "student", ["http://h/v1"], None, None, recipe)
    assert (name, settings.model, settings.url) == ("student", "student", ("http://h/v1",))
