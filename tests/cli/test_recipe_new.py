"""`lpt recipe new`: what it writes can be run, and it overwrites nothing."""

import os
import pty
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from lpt.errors import UserError
from lpt.recipe import Recipe
from lpt.starter import GPUS, ROLES, SOURCES, Answers, Role, Server, recipe_text
from tests.cli.test_looking import lpt

LOCAL = Server("http://127.0.0.1:8000/v1", "mine")
SERVED: list[dict[Role, Server]] = [
    {},
    dict.fromkeys(ROLES, LOCAL),
    {"asker": Server("https://api.openai.com/v1", "gpt-4o-mini")},
    {"student": Server("", 'a "name" \\ with spaces')},
    {"reasoner": Server("http://gpu:8001/v1")},
]


@pytest.mark.parametrize(("source", "gpu", "served"), list(product(SOURCES, GPUS, range(len(SERVED)))))
def test_whatever_is_answered_gives_a_recipe_that_loads(source: str, gpu: str, served: int, tmp_path: Path):
    path = "" if source == "scenes" else 'my "images"/été'
    file = tmp_path / "mine.toml"
    answers = Answers(source=source, path=path, gpu=gpu, servers=SERVED[served])
    file.write_text(recipe_text(answers, "mine.toml"), encoding="utf-8")
    recipe = Recipe.load(file)
    recipe.check_models()
    assert recipe.captions.source == source
    assert recipe.captions.path == (str(tmp_path / path) if path else None)
    for role, server in SERVED[served].items():
        if server.url:
            assert recipe.models[role].url == server.url
        if server.model:
            assert recipe.models[role].model == server.model


def test_on_one_gpu_one_server_runs_at_a_time():
    recipe = Recipe.parse(recipe_text(Answers(gpu="one"), "r.toml"))
    commands = {model.launch for model in recipe.models.values()}
    assert len(commands) == 2, "the student's server also asks"
    assert recipe.run.schedule == "phased"
    other = Recipe.parse(recipe_text(Answers(gpu="one", servers={"asker": Server("", "another")}), "r.toml"))
    assert len({model.launch for model in other.models.values()}) == 3
    elsewhere = Server("http://gpu:8000/v1")
    served: dict[Role, Server] = {"asker": elsewhere, "reasoner": elsewhere}
    alone = Recipe.parse(recipe_text(Answers(gpu="one", servers=served), "r.toml"))
    assert alone.run.schedule == "mixed", "nothing else is to be launched"


def test_a_key_is_named_and_never_written():
    recipe = Recipe.parse(recipe_text(Answers(servers=SERVED[2]), "r.toml"))
    assert recipe.models["asker"].key_env == "OPENAI_API_KEY"


def test_without_a_server_scenes_are_simulated_and_run_at_once(tmp_path: Path):
    file = tmp_path / "first.toml"
    done = lpt("recipe", "new", file)
    assert done.returncode == 0, done.stderr
    assert lpt("doctor", file).returncode == 0
    assert lpt("run", file, "--out", tmp_path / "run", "--limit", "2").returncode == 0


def test_paths_are_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()
    assert lpt("recipe", "new", "inner/r.toml", "--source", "folder", "--path", "images").returncode == 0
    assert Recipe.load("inner/r.toml").captions.path == str(tmp_path / "images")
    assert lpt("recipe", "new", "r.toml", "--source", "folder", "--path", "images").returncode == 0
    assert 'path = "images"' in Path("r.toml").read_text()


def test_nothing_is_overwritten_without_being_told_to(tmp_path: Path):
    file = tmp_path / "recipe.toml"
    file.write_text("precious")
    done = lpt("recipe", "new", file)
    assert done.returncode == 2
    assert "--force" in done.stderr
    assert file.read_text() == "precious"
    assert lpt("recipe", "new", file, "--force").returncode == 0
    Recipe.load(file)


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        (Answers(source="sceens"), "--source"),
        (Answers(gpu="two"), "--gpu"),
        (Answers(source="folder"), "--path"),
        (Answers(path="x"), "scenes are rendered"),
        (Answers(servers={"asker": Server("localhost:8000")}), "http://"),
        (Answers(servers={"asker": Server("", "\udcff")}), "UTF-8"),
    ],
)
def test_answers_that_cannot_be_are_told(answers: Answers, says: str):
    with pytest.raises(UserError, match=says):
        recipe_text(answers, "r.toml")


def test_in_a_terminal_it_asks(tmp_path: Path):
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "lpt", "recipe", "new", str(tmp_path / "r.toml")]
    child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    os.write(master, b"folder\n/data/images\nnone\nhttp://a/v1\nbig\n\nhttp://b/v1\nlarge\n")
    assert child.wait(timeout=60) == 0
    os.close(master)
    recipe = Recipe.load(tmp_path / "r.toml")
    assert recipe.captions.path == "/data/images"
    assert recipe.models["asker"].url == "http://a/v1"
    assert recipe.models["reasoner"].model == "large"
