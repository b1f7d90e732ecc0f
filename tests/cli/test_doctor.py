"""`lpt doctor` as a user runs it."""

import json
from pathlib import Path

import pytest

from tests.cli.test_looking import lpt
from tests.conftest import Sim, small_recipe

DEMO = Path(__file__).parents[2] / "recipes" / "demo.toml"


def written(folder: Path, url: str, *overrides: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(small_recipe(url, *overrides).toml())
    return path


def test_the_demo_is_well_and_its_servers_are_launched_for_it():
    done = lpt("doctor", DEMO)
    assert done.returncode == 0, done.stderr
    assert "The models can do what the recipe needs." in done.stdout
    for word in ("asker", "student", "reasoner", "bad words", "cached tokens", "a turn that is continued"):
        assert word in done.stdout
    assert "Traceback" not in done.stderr


def test_a_server_that_starts_new_turns_is_told_with_the_key_to_set(start_sim, tmp_path: Path):
    recipe = written(tmp_path, start_sim("--dial", "prefill=ignored").url)
    done = lpt("doctor", recipe)
    assert done.returncode == 1
    assert 'models.reasoner.prefill = "instructed"' in done.stdout

    cured = lpt("doctor", recipe, "--set", "models.reasoner.prefill=instructed")
    assert cured.returncode == 0
    assert "can do without" in cured.stdout


def test_machines_get_everything(start_sim, tmp_path: Path):
    sim = start_sim("--dial", "prefill=prefix", "--dial", "max_model_len=6000")
    recipe = written(tmp_path, sim.url, "models.reasoner.prefill=trailing")
    done = lpt("doctor", recipe, "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert told["ok"] is False
    assert [model["name"] for model in told["models"]] == ["asker", "student", "reasoner"]
    assert {model["context"] for model in told["models"]} == {6000}
    (missing,) = [need for need in told["needs"] if need["met"] == "no" and need["level"] == "must"]
    assert missing["stage"] == "think_harder"
    assert missing["change"] == 'models.reasoner.prefill = "prefix"'
    fixed = lpt("doctor", recipe, "--json", "--set", missing["change"].replace(" ", ""))
    assert fixed.returncode == 0
    assert json.loads(fixed.stdout)["ok"] is True


def test_what_is_said_to_be_changed_cures_it(start_sim, tmp_path: Path):
    sim = start_sim("--dial", "max_model_len=3000")
    recipe = written(tmp_path, sim.url)
    told = json.loads(lpt("doctor", recipe, "--json").stdout)
    changes = [need["change"] for need in told["needs"] if need["met"] == "no" and need["level"] == "must"]
    assert changes == ["ask.max_tokens = 2488"]
    assert lpt("doctor", recipe, "--set", changes[0].replace(" ", "")).returncode == 0


def test_a_missing_server_is_no_traceback(tmp_path: Path):
    done = lpt("doctor", written(tmp_path, "http://127.0.0.1:9/v1"))
    assert done.returncode == 1
    assert "cannot be reached" in " ".join(done.stdout.split())
    assert "see to the server of models.student.url" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_command_that_is_not_there_is_no_traceback(tmp_path: Path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(DEMO.read_text().replace("lpt sim", "no-such-command"))
    done = lpt("doctor", recipe)
    assert done.returncode == 1
    assert "no-such-command" in done.stdout
    assert "Traceback" not in done.stderr


def test_what_a_server_says_is_printed_as_text(start_sim, tmp_path: Path):
    done = lpt("doctor", written(tmp_path, start_sim().url, 'models.student.model="[red]x[/red]"'))
    assert done.returncode == 1
    assert "[red]x[/red]" in done.stdout


@pytest.mark.parametrize("student", ["Qwen2.5-VL-7B-Instruct"])
def test_families_that_differ_are_warned_of(sim: Sim, tmp_path: Path, student: str):
    recipe = written(
        tmp_path, sim.url, f"models.student.model={student}", "models.reasoner.model=DeepSeek-R1-Distill-Llama-8B"
    )
    assert "Llama" in lpt("doctor", recipe).stdout.partition("warning:")[2]
