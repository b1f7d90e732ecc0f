"""The pages of the documentation as something that can be run: their blocks and commands, and a world for them.

    python -m tests.docs.pages docs/quickstart.md     # what the page's commands print now

A page's blocks are carried out from top to bottom in one folder. In a `console` block `$ ` stands before a command,
and what follows is what it prints, perhaps shortened (`…`); in an `sh` block each line is a command. A `toml` block
whose first line is `# NAME.toml` is that file.
"""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow.parquet as pq

from lpt import world
from lpt.recipe import Recipe
from lpt.settings import ModelSettings
from tests.conftest import simulate

ROOT = Path(__file__).parents[2]
PAGES = tuple(
    sorted(
        str(page.relative_to(ROOT))
        for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        if page.name not in ("log.md", "integrations.md")  # dated notes, and what `make test-real` writes
    )
)
ROLES = ("asker", "student", "reasoner", "expert", "judge")

NOT_RUN = {
    "make": "installs; of `make demo` the commands are run (the Makefile's), on two scenes; `make test` is this",
    "pip": "an installer",
    "git": "an installer",
    "vllm": "a real server; `lpt sim` stands at its URL",
    "python -m sglang.launch_server": "a real server",
    "llama-server": "a real server",
    "ollama": "a real server",
    "OLLAMA_": "a real server",
    "lpt serve": "needs a model's weights; tests/serving/test_checkpoint.py does the same with a tiny one",
    "lpt train": "needs a model's weights; tests/train does the same with a tiny one",
    "lpt eval run": "downloads benchmarks; tests/evaluate/test_eval_command.py runs it",
    "lpt eval show": "needs an evaluation; tests/evaluate/test_eval_command.py runs it",
    "inspect": "needs a benchmark and a server; tests/evaluate/test_eval_command.py runs it",
    "lpt eval compare": "needs two evaluations; tests/evaluate/test_compare_cli.py runs it",
    "lpt eval export": "downloads benchmarks; tests/evaluate/test_exports.py runs it",
    "lpt analyze alignment": "needs prompt_logprobs; tests/analyze/test_alignment.py runs it",
    "lpt view": "serves until it is ended; tests/view opens it",
    "lpt analyze contamination": "downloads benchmarks; tests/analyze/test_contamination.py runs it",
    "scripts/miniature.sh": "trains for hours; tests/miniature/test_smoke.py runs it with a student of seconds",
    "SEEDS=": "as scripts/miniature.sh",
    "accelerate": "needs several GPUs",
    "tensorboard": "a server",
}
"""The commands that are shown and not run, by how they begin, and why."""

DIALS: dict[str, tuple[str, ...]] = {
    "docs/servers/vllm.md": ("prefill=continue", "owned_by=vllm"),
    "docs/servers/sglang.md": ("prefill=continue", "owned_by=sglang"),
    "docs/servers/llama-cpp.md": ("prefill=trailing", "owned_by=llamacpp"),
    "docs/servers/ollama.md": ("prefill=trailing", "owned_by=library"),
    "docs/servers/openai.md": ("prefill=ignored", "owned_by=system"),
}
"""What the server of a page is like."""

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LOCAL = re.compile(r"https?://(?:127\.0\.0\.1|localhost):\d\d+/v1")
_RECIPE = """\
[captions]
source = "folder"
path = "my-images"
[models.asker]
url = "URL"
model = "asker"
[models.student]
url = "URL"
model = "student"
[models.reasoner]
url = "URL"
model = "reasoner"
[ask]
model = "asker"
questions = 4
[think]
model = "student"
samples = 2
[think_harder]
model = "reasoner"
cues = ["Wait,"]
samples = 2
"""
_SQLITE = """\
#!{python}
import sqlite3, sys
for row in sqlite3.connect(sys.argv[1]).execute(sys.argv[2]):
    print("|".join(map(str, row)))
"""


class Block(NamedTuple):
    """A fenced block."""

    page: str
    line: int
    language: str
    text: str


class Step(NamedTuple):
    """A command, and what the page says that it prints."""

    page: str
    line: int
    command: str
    shown: tuple[str, ...]

    @property
    def why_not(self) -> str:
        """Why it is not run; empty where it is."""
        if self.command == "make demo" and self.page != "README.md":  # once is enough
            return ""
        return next((why for begin, why in NOT_RUN.items() if self.command.startswith(begin)), "")


class Done(NamedTuple):
    """What a command did."""

    status: int
    said: str
    folder: Path


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in its order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2]) for found in _FENCE.finditer(text)
    ]


def steps(block: Block) -> list[Step]:
    """The commands of a block: none if it is another kind of block."""
    lines = re.sub(r"\\\n\s*", "", block.text).splitlines()
    console = any(line.startswith("$ ") for line in lines)
    if block.language not in ("console", "sh", "bash", "") or (block.language == "" and not console):
        return []
    found: list[Step] = []
    for line in lines:
        command = line.removeprefix("$ ") if console and line.startswith("$ ") else "" if console else line
        command = re.split(r"\s{2,}#|^#", command)[0].strip()
        if command:
            found.append(Step(block.page, block.line, command, ()))
        elif console and found:
            found[-1] = found[-1]._replace(shown=(*found[-1].shown, line))
    return found


def with_commands(*, servers: bool) -> list[str]:
    """The pages that have something to run: those about servers, or the others."""
    there = [page for page in PAGES if page.startswith("docs/servers/") == servers]
    return [page for page in there if any(not step.why_not for block in blocks(page) for step in steps(block))]


def recipe_name(block: Block) -> str | None:
    """The file that a block is, if it says so."""
    found = re.match(r"# ([\w-]+\.toml)\b", block.text)
    return found[1] if found and block.language == "toml" else None


def whole(recipe: Recipe) -> bool:
    """Whether a recipe can be run as it is."""
    return bool(recipe.models and recipe.think and (recipe.ask or recipe.questions))


@lru_cache
def captioned() -> tuple[tuple[str, bytes], ...]:
    """Four images and their captions, as files."""
    found: list[tuple[str, bytes]] = []
    for scene, name in world.scenes(4, 7, "rich"):
        found += [(f"{name}.png", world.png(scene)), (f"{name}.txt", world.describe(scene).encode())]
    return tuple(found)


class World:
    """A folder in which a page is true: captioned images, a recipe, a server, and the commands that it needs."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self._env = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
        self._stack = contextlib.ExitStack()
        pictures = folder / "my-images"
        pictures.mkdir(parents=True)
        for name, data in captioned():
            (pictures / name).write_bytes(data)
        (folder / "recipes").symlink_to(ROOT / "recipes")
        (folder / "recipe.toml").write_text(_RECIPE.replace("URL", url))
        self._commands(folder / ".bin")

    def _commands(self, place: Path) -> None:
        place.mkdir()
        self._put(place / "lpt", f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m lpt "$@"\n')
        self._put(place / "python", f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        if not shutil.which("sqlite3"):
            self._put(place / "sqlite3", _SQLITE.format(python=sys.executable))
        self._env["PATH"] = f"{place}:{self._env['PATH']}"

    @staticmethod
    def _put(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def close(self) -> None:
        """Stop what the page has started."""
        self._stack.close()

    def put_recipe(self, name: str, text: str) -> None:
        """Write a page's recipe, its models where the page's server is."""
        recipe = Recipe.parse(text, name=name)
        models = {role: self._here(role, model) for role, model in recipe.models.items()}
        (self.folder / name).write_text(msgspec.structs.replace(recipe, models=models).toml(), encoding="utf-8")

    def _here(self, role: str, model: ModelSettings) -> ModelSettings:
        if (model.launch or "").startswith("lpt sim"):
            return model
        name = role if role in ROLES else "student"
        return msgspec.structs.replace(model, url=self.url, launch=None, model=name, headers={})

    def run(self, command: str) -> Done:
        """Carry out a command as it is meant here."""
        if command == "make demo":
            (target,) = re.findall(r"^demo:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
            lines = [line.strip().replace("$(BIN)/", "") for line in target.splitlines()]
            command = " && ".join([f"{lines[0]} --limit 2", *lines[1:]])
        if command.startswith("export "):
            for word in shlex.split(command.replace("…", "0"))[1:]:
                name, _, value = word.partition("=")
                self._env[name] = value
            return Done(0, "", self.folder)
        if command.startswith("lpt sim") and "--dials" not in command:
            arguments = shlex.split(re.sub(r"--port \d+", "", command))[2:]
            self.url = self._stack.enter_context(simulate(self.folder / "requests.jsonl", *arguments)).url
            return Done(0, self.url, self.folder)
        command = _LOCAL.sub(self.url, command)
        command = re.sub(r"(--\w+-url) \S+", rf"\1 {self.url}", command)
        command = re.sub(r"(--(\w+)-model) \S+", r"\1 \2", command)
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            check=False,
            cwd=self.folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            timeout=300,  # hangs
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        return Done(done.returncode, done.stdout, self.folder)


@contextlib.contextmanager
def a_world(url: str) -> Iterator[World]:
    """A world whose server is at `url`."""
    with tempfile.TemporaryDirectory(prefix="lpt-docs-") as folder:
        made = World(Path(folder), url)
        try:
            yield made
        finally:
            made.close()


@contextlib.contextmanager
def a_server(page: str = "") -> Iterator[str]:
    """A simulated server as the page tells of it; four questions an image do for an example."""
    dials = [word for dial in (*DIALS.get(page, ()), "questions=4") for word in ("--dial", dial)]
    with (
        tempfile.TemporaryDirectory(prefix="lpt-docs-") as folder,
        simulate(Path(folder) / "log", *dials) as server,
    ):
        yield server.url


def carried_out(page: str, url: str) -> Iterator[tuple[Step, Done]]:
    """Go through a page: recipes are written, commands are run."""
    with a_world(url) as made:
        for block in blocks(page):
            if name := recipe_name(block):
                made.put_recipe(name, block.text)
            for step in steps(block):
                if not step.why_not:
                    yield step, made.run(step.command)


def example_rows(page: str) -> dict[str, object]:
    """The JSON blocks that a page introduces as a row of a file, by the file."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return {
        found[1]: msgspec.json.decode(found[2])
        for found in re.finditer(r"^`([\w/.-]+)`:\n\n```json\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    }


def rows(path: Path) -> list[dict[str, object]]:
    """The rows of an exported file."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()  # type: ignore[no-any-return]
    data = path.read_bytes()
    return (
        [msgspec.json.decode(line) for line in data.splitlines()]
        if path.suffix == ".jsonl"
        else msgspec.json.decode(data)
    )


def shape(value: object) -> object:
    """What a value is made of, whatever it says: its keys and, of turns, whose they are."""
    if isinstance(value, dict):
        return {key: inner if key in ("role", "loss") else shape(inner) for key, inner in value.items()}
    return (
        [shape(inner) for inner in value]
        if isinstance(value, list) and value and isinstance(value[0], dict)
        else ""
    )


def plain(line: str) -> str:
    """A line without what may differ: numbers, ids, places, and how wide a column is."""
    line = re.sub(r"\b[0-9a-f]{12,32}\b", "ID", line)
    line = re.sub(r"https?://[\w.]+:\d+/v1", "URL", line)
    return " ".join(re.sub(r"\d[\d,.]*", "0", line).split())


def not_said(shown: Sequence[str], said: str) -> list[str]:
    """The lines that a page shows and the command did not print; `…` stands for anything."""
    lines = [plain(line) for line in said.splitlines()]
    missing = []
    for line in map(plain, shown):
        pattern = ".*".join(re.escape(part.strip()) for part in line.split("…"))
        if line and not any(re.fullmatch(f"{pattern}", found) for found in lines):
            missing.append(line)
    return missing


def carry_out(page: str, url: str) -> None:
    """Run all that a page shows; what it says must be so.

    Raises:
        AssertionError: a command failed, or did not print what the page says.
    """
    for step, done in carried_out(page, url):
        place = f"{page}, block at line {step.line}: {step.command}\n{done.said}"
        fails = any(line.startswith("lpt: ") for line in step.shown)
        assert (done.status != 0) == fails, place
        missing = not_said(step.shown, done.said)
        assert not missing, f"not printed: {missing}\nby {place}"
        if step.command.startswith("lpt export"):
            examples_are_rows(page, step.command.rpartition(" ")[2], done.folder)


def examples_are_rows(page: str, name: str, folder: Path) -> None:
    """The rows that a page shows of an export are made as those that it wrote."""
    for file, row in example_rows(page).items():
        if file.startswith(f"{name}/"):
            (written,) = folder.glob(f"runs/*/exports/{file}")
            assert shape(row) in map(shape, rows(written)), f"{page}: no row of {file} is made like its example"


if __name__ == "__main__":
    with a_server(sys.argv[1]) as its_url:
        for step, done in carried_out(sys.argv[1], its_url):
            print(f"$ {step.command}\n{done.said}" + (f"[exit status {done.status}]\n" if done.status else ""))
