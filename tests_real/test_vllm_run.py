"""Whole runs, `lpt run` as a person calls it, with all three models on a real vLLM."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import asking
from conftest import Server
from lpt.curate.funnel import check, funnel
from lpt.pipeline import State
from lpt.store.run import Run

pytestmark = pytest.mark.tool("vllm")
checks = pytest.mark.checks
Note = Callable[[str], None]

RECIPE = """
seed = 0
[captions]
source = "scenes"
count = 3
[models.asker]
url = "{text}"
model = "text"
[models.student]
url = "{vision}"
model = "vision"
[models.reasoner]
url = "{text}"
model = "text"
[ask]
model = "asker"
max_tokens = 1200
[think]
model = "student"
samples = 2
max_tokens = 96
[think_harder]
model = "reasoner"
samples = 2
cues = ["Wait,", "Hmm,"]
max_tokens = 96
[budget]
mode = "exhaustive"
[curate]
validation = 0.2
keep = 1.0
"""
COLOURS = ("red", "green", "blue", "white")
# What a random model says is held to a form, so that all stages are reached: vLLM's own structured output.
QUESTIONS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "questions": {
            "type": "array",
            "minItems": 3,
            "maxItems": 3,
            "items": {
                "type": "object",
                "properties": {
                    "question": {"type": "string", "pattern": "^What colour is the [a-z]{4,12} of [a-z]{4,12}\\?$"},
                    "options": {
                        "type": "array",
                        "prefixItems": [{"const": colour} for colour in COLOURS],
                        "items": False,
                        "minItems": 4,
                        "maxItems": 4,
                    },
                    "answer": {"enum": list(COLOURS)},
                    "type": {"enum": ["counting", "recognition"]},
                },
                "required": ["question", "options", "answer", "type"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["questions"],
    "additionalProperties": False,
}
WORDS = "[a-z]{2,8}( [a-z]{2,8}){9,12}[.]"
ANSWER = "<answer> [(][A-D][)] </answer>"
GUIDED = {
    "ask.extra": {"response_format": {"type": "json_schema", "json_schema": {"name": "ask", "schema": QUESTIONS}}},
    "think.extra": {"structured_outputs": {"regex": f"<think> {WORDS} </think> {ANSWER}"}},
    "think_harder.extra": {"structured_outputs": {"regex": f" {WORDS} </think> {ANSWER}"}},
    "think.formats": ["(X)"],
}


def lpt(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line."""
    command = [sys.executable, "-m", "lpt", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=900)


def toml(value: Any) -> str:
    """A value as `--set` reads it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


async def answered(*servers: Server) -> int:
    """Choices that servers have finished since they were started, by their own count."""
    return sum([(await asking.counted(server, "request_success_total"))[0] for server in servers])


def run_once(recipe: Path, out: Path, settings: dict[str, Any]) -> tuple[Run, str]:
    """Run, and see that nothing failed and nothing vanished."""
    images = settings.get("captions.count", 3)
    overrides = [part for key, value in settings.items() for part in ("--set", f"{key}={toml(value)}")]
    done = lpt("run", recipe, "--out", out, *overrides)
    assert done.returncode == 0, done.stderr[-3000:]
    run = Run.open(out)
    assert State.of_run(run) == State(complete=True, images=images, of=images, until="think_harder")
    assert run.failed_calls() == 0, run.table("drops").filter(pl.col("reason") == "call-failed").collect()
    counts = funnel(run)
    check(counts)
    said = "; ".join(
        f"{count.stage} {count.made} made, {count.kept} kept"
        + "".join(f", {number} {reason}" for reason, number in count.dropped.items())
        for count in counts
    )
    return run, said


@pytest.fixture
def recipe(text_server: Server, vision_server: Server, tmp_path: Path) -> Path:
    """Three models, two servers."""
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(text=text_server.url, vision=vision_server.url))
    return path


@checks(
    "`lpt run` as it is, all three models random: every call answered, every drop explained (made = kept + dropped)"
)
async def test_plain_run(recipe: Path, tmp_path: Path, note: Note) -> None:
    _, said = run_once(recipe, tmp_path / "run", {})
    note(said)


@checks("… with the asker alone, or asker and student, held to a form: unparsed replies are drops, counted as such")
@pytest.mark.parametrize("held", [("ask.extra",), ("ask.extra", "think.extra", "think.formats")])
async def test_loose_run(recipe: Path, tmp_path: Path, held: tuple[str, ...], note: Note) -> None:
    run, said = run_once(recipe, tmp_path / "run", {key: GUIDED[key] for key in held})
    note(said)
    last = "thoughts" if len(held) == 1 else "long_thoughts"
    verdicts = list(run.table(last).collect()["verdict"])
    assert len(verdicts) >= 18
    assert verdicts.count("unparsed") > len(verdicts) / 2


@checks(
    "`lpt run` with replies held to a form by vLLM's own structured output: through all stages into both sets; "
    "running again asks nothing and writes the same bytes"
)
async def test_guided_run(
    recipe: Path, tmp_path: Path, text_server: Server, vision_server: Server, note: Note
) -> None:
    before = await answered(text_server, vision_server)
    run, said = run_once(recipe, tmp_path / "run", GUIDED)
    note(said)
    after = await answered(text_server, vision_server)
    questions, thoughts, longs = (run.table(name).collect() for name in ("questions", "thoughts", "long_thoughts"))
    assert len(questions) == 9
    assert len(thoughts) == 2 * len(questions)
    assert len(longs) == 4 * (thoughts["verdict"] != "unparsed").sum() > 0
    assert after - before == 3 + len(thoughts) + len(longs)
    assert not longs["instructed"].any()
    assert run.table("sft").collect().height > 0
    bytes_before = {path.name: path.read_bytes() for path in (run.path / "tables").iterdir()}
    run_once(recipe, run.path, GUIDED)
    assert await answered(text_server, vision_server) == after
    assert {path.name: path.read_bytes() for path in (run.path / "tables").iterdir()} == bytes_before
    note(f"{after - before} choices; verdicts {dict(Counter(longs['verdict']))}")


@checks("a student's `<think>` prefilled behind an image, three samples in one request")
async def test_prefilled_student(recipe: Path, tmp_path: Path, note: Note) -> None:
    settings = {
        **GUIDED,
        "think.prefill": "<think>",
        "think.samples": 3,
        "think.extra": {"structured_outputs": {"regex": f" {WORDS} </think> {ANSWER}"}},
        "think_harder.cues": ["Wait,"],
        "think_harder.samples": 1,
    }
    run, said = run_once(recipe, tmp_path / "run", settings)
    thoughts = run.table("thoughts").collect()
    assert thoughts.height == 27
    assert all(text.startswith("<think> ") and text.count("<think>") == 1 for text in thoughts["text"])
    assert (thoughts["verdict"] != "unparsed").all()
    note(said)
