"""Environments are built when first asked for; what each check showed is kept for docs/integrations.md."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import resources
from pathlib import Path

import pytest

import environments
import results
from exported import RECIPE, lpt
from lpt import world
from lpt.models.launch import Launched

INSIDE = Path(environments.__file__).parent / "inside"


def pytest_configure(config: pytest.Config) -> None:
    """Keep a folder of its own for the logs of servers: pytest's common one goes with the next few sessions."""
    if config.option.basetemp is None:
        config.option.basetemp = str(environments.CACHE / "work" / str(os.getpid()))
        (environments.CACHE / "work").mkdir(parents=True, exist_ok=True)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Whole files are about to be run: what tests that are gone once showed is no longer so."""
    if not any("::" in argument for argument in session.config.args) and not session.config.option.keyword:
        tests = {item.nodeid for item in session.items}
        results.prune({test.split("::")[0] for test in tests}, tests)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Leave it where something failed, and say where; else remove it."""
    if exitstatus == 0:
        shutil.rmtree(session.config.option.basetemp, ignore_errors=True)
    else:
        print(f"\nlogs and runs: {session.config.option.basetemp}")


@pytest.fixture(scope="session")
def environment() -> Callable[[str], Path]:
    """An environment's interpreter, by its name; built if it is not there, tried once."""
    failed: dict[str, environments.Missing] = {}

    def get(name: str) -> Path:
        if name in failed:
            raise failed[name]
        try:
            return environments.build(name)
        except environments.Missing as error:
            failed[name] = error
            raise

    return get


@pytest.fixture(autouse=True)
def _environment_of_the_test(request: pytest.FixtureRequest, environment: Callable[[str], Path]) -> None:
    marker = request.node.get_closest_marker("tool")
    assert marker, "say which environment this needs: pytest.mark.tool"
    environment(marker.args[0])


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Say in the table what was seen."""

    def say(what: str) -> None:
        request.node.user_properties.append(("note", what))
        print(what)

    return say


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text for tokenizers: captions of scenes, and our prompts."""
    texts = [world.describe(scene) for scene, _ in world.scenes(40, 0, "rich")]
    prompts = resources.files("lpt") / "synthesis" / "prompts"
    texts += [
        (prompts / f"{name}.txt").read_text(encoding="utf-8")
        for name in ("ask", "think", "think_harder", "reparse")
    ]
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("\n".join(texts), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny(
    environment: Callable[[str], Path], corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Path]:
    """A tiny random model, `text` or `vision`, in the form that an environment reads."""
    made: dict[tuple[str, str], Path] = {}

    def make(name: str, kind: str) -> Path:
        if (name, kind) not in made:
            out = tmp_path_factory.mktemp("models") / f"{name}-{kind}"
            call(environment(name), INSIDE / "tiny.py", kind, corpus, out)
            made[name, kind] = out
        return made[name, kind]

    return make


def call(*command: object, cwd: Path | None = None, timeout: float = 900) -> str:
    """Run a command of an environment, offline; what it printed.

    Raises:
        AssertionError: it failed, with the end of what it said.
    """
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=timeout,
        env={**_environ(), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{command[1:4]} ended with {done.returncode}:\n{said[-4000:]}"
    return done.stdout


def _environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "PYTHON"))}


class Server:
    """A server that our own `launch` started."""

    def __init__(self, url: str, model: str, folder: Path, launched: Launched, seconds: float) -> None:
        self.url = url
        self.model = model
        self.folder = folder
        self.launched = launched
        self.seconds = seconds


def vllm_command(interpreter: Path, folder: Path, name: str) -> str:
    """How vLLM is started, as a recipe's `launch` says it."""
    images = """--limit-mm-per-prompt '{"image": 1, "video": 0}'""" if name == "vision" else ""
    return (
        "env VLLM_CPU_KVCACHE_SPACE=1 HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 "
        f"{interpreter} -m vllm.entrypoints.openai.api_server --model {folder} --served-model-name {name} "
        "--host 127.0.0.1 --port {port} --max-model-len 4096 --enforce-eager --dtype float32 --block-size 32 "
        # With its prompt cut into chunks, a request that has a seed kills this build: "CPU Generator does not use
        # offset".
        f"--no-enable-chunked-prefill --enable-prompt-tokens-details {images}".strip()
    )


@contextlib.asynccontextmanager
async def serving(command: str, model: str, folder: Path, logs: Path) -> AsyncIterator[Server]:
    """Start a server as a recipe's `launch` does, and stop it."""
    launched = Launched(command, logs / f"{model}.log", timeout=600)
    began = time.monotonic()
    try:
        url = await launched.url()
        yield Server(url, model, folder, launched, time.monotonic() - began)
    finally:
        await launched.stop()


@pytest.fixture(scope="session")
async def text_server(
    environment: Callable[[str], Path],
    tiny: Callable[[str, str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Server]:
    """vLLM with the text model."""
    folder, logs = tiny("vllm", "text"), tmp_path_factory.mktemp("logs")
    command = vllm_command(environment("vllm"), folder, "text")
    async with serving(command, "text", folder, logs) as server:
        yield server


@pytest.fixture(scope="session")
async def vision_server(
    environment: Callable[[str], Path],
    tiny: Callable[[str, str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Server]:
    """vLLM with the vision model."""
    folder, logs = tiny("vllm", "vision"), tmp_path_factory.mktemp("logs")
    command = vllm_command(environment("vllm"), folder, "vision")
    async with serving(command, "vision", folder, logs) as server:
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[None]:  # the report, handed on
    """Keep what a check showed: failures, of its set-up too, as failures."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    tool, checks = item.get_closest_marker("tool"), item.get_closest_marker("checks")
    expected = str(getattr(report, "wasxfail", ""))
    if tool and checks and (report.when == "call" or report.failed):
        name = tool.args[0]
        notes = "; ".join(str(value) for key, value in item.user_properties if key == "note")
        error = "" if call.excinfo is None else str(call.excinfo.value)
        error = expected or error
        version = environments.pinned(name)
        if call.excinfo is not None and call.excinfo.errisinstance(environments.Missing):
            error = f"could not be installed: {error.strip().splitlines()[-1]}"
        if environments.ready(name):
            versions = environments.told(name)["versions"]
            assert isinstance(versions, dict)
            version = versions.get(environments.ENVIRONMENTS[name].tool) or ""
        results.keep(
            {
                item.nodeid: {
                    "tool": name,
                    "version": version,
                    "check": checks.args[0],
                    "passed": report.passed and not expected,
                    "detail": "; ".join(part for part in (error.strip()[:200], notes) if part),
                    "seconds": round(report.duration, 1),
                    "date": results.today(),
                }
            }
        )
    return report  # type: ignore[return-value]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of the demo against `lpt sim`, with its sets."""
    run = tmp_path_factory.mktemp("runs") / "demo"
    lpt("run", RECIPE, "--out", run, "--set", "captions.count=10")
    return run
