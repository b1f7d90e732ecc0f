"""A key is searched for in all that commands write: files, tables, what the ledger packs, stdout and stderr."""

import base64
import html
import json
import os
import sqlite3
import subprocess
import sys
import urllib.parse
import zlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import simulate
from tests.hostile.echo import FAULTS, echoing, refusing

KEY, PASSWORD, QUERY, HEADER, TOKEN = (
    f'sk-{name}/c4n4ry+7b1f"&0c55=='.replace('"', "" if name in ("pass", "query") else '"')
    for name in ("key", "pass", "query", "head", "hub")
)
SECRETS = (KEY, PASSWORD, QUERY, HEADER, TOKEN)


def traces(data: bytes) -> list[str]:
    """The secrets that are in there, in one of the ways in which they may be written."""
    found = []
    for secret in SECRETS:
        ways = {
            secret,
            urllib.parse.quote(secret, safe=""),
            urllib.parse.quote(secret),
            urllib.parse.quote_plus(secret),
            html.escape(secret),
            json.dumps(secret)[1:-1],
            # Whatever stands before it, one of three begins with a whole group of bytes.
            *(base64.b64encode(secret[skip:].encode()).decode()[:-4].rstrip("=") for skip in range(3)),
        }
        found += [f"{secret} as {way}" for way in ways if way.encode() in data or way.encode("utf-16-le") in data]
    return found


def packed(path: Path) -> Iterator[bytes]:
    """What a file holds beside its plain bytes."""
    yield path.read_bytes()
    if path.suffix == ".parquet":
        yield repr(pl.read_parquet(path).to_dicts()).encode()
    if path.suffix == ".sqlite":
        with sqlite3.connect(path) as ledger:
            tables = [name for (name,) in ledger.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                for row in ledger.execute(f"SELECT * FROM {table}"):
                    yield repr(row).encode()
                    for value in row:
                        if isinstance(value, bytes):
                            try:
                                yield zlib.decompress(value)
                            except zlib.error:
                                yield value
        ledger.close()


def recipe(url: str, folder: Path) -> Path:
    """Three models, each with its own way of carrying a secret."""
    host = url.removeprefix("http://")
    quoted = urllib.parse.quote(PASSWORD, safe="")
    text = f"""
        [captions]
        source = "scenes"
        count = 2
        [models.asker]
        model = "asker"
        url = "{url}"
        key_env = "CANARY_KEY"
        [models.student]
        model = "student"
        url = "http://user:{quoted}@{host}?code={urllib.parse.quote(QUERY, safe="")}"
        [models.reasoner]
        model = "reasoner"
        url = "{url}"
        headers = {{ X-Token = "$CANARY_HEADER" }}
        [ask]
        model = "asker"
        [think]
        model = "student"
        [think_harder]
        model = "reasoner"
        [verify.blind]
        model = "student"
        """
    path = folder / "canary.toml"
    path.write_text(text.replace("url =", "attempts = 20\n        url ="))
    return path


_ONE_AFTER_ANOTHER = """
import sys
from lpt.cli import main
from lpt.models import caller, patience

patience._FIRST_SECONDS = caller._LEAST_429 = 0.005  # faults are many here, and nobody need wait for them

for command in sys.argv[1:]:
    sys.argv = ["lpt", *command.split()]
    try:
        main()
        status = 0
    except SystemExit as ended:
        status = ended.code or 0
sys.exit(status)
"""


def lpt(folder: Path, *commands: str) -> int:
    """Commands one after another in a process, all of whose talk is searched; the status of the last."""
    done = subprocess.run(
        [sys.executable, "-c", _ONE_AFTER_ANOTHER, *commands],
        cwd=folder,
        env=os.environ | {"CANARY_KEY": KEY, "CANARY_HEADER": HEADER, "HF_TOKEN": TOKEN},
        capture_output=True,
        check=False,
        timeout=300,
    )
    said = done.stdout + done.stderr
    assert b"Traceback" not in said, said.decode()
    print(said.decode())
    assert not traces(said), (traces(said), said.decode())
    return done.returncode


def searched(folder: Path, *but: Path) -> int:
    """Search every file; how many there were."""
    files = [path for path in folder.rglob("*") if path.is_file() and path not in but]
    for path in files:
        for data in packed(path):
            assert not traces(data), (path, traces(data))
    return len(files)


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with simulate(tmp_path_factory.mktemp("sim") / "requests.jsonl") as server:
        yield server.url


def test_no_key_in_anything_that_a_whole_run_writes(sim: str, tmp_path: Path):
    with echoing(sim, *FAULTS) as url:
        path = recipe(url, tmp_path)
        assert lpt(tmp_path, f"run {path} --out run") == 0
        exports = [f"export run --to {kind}" for kind in ("llamafactory", "trl", "swift", "verl", "hf")]
        looks = ["status run", "status run --json", "show run --prompts", "ledger run --json", "verify run"]
        looks += ["check run", "compose run"]
        asks = [f"doctor {path}", f"plan {path} --out run"]
        lpt(tmp_path, *asks, *looks, *exports, "export run --to hf --push you/thoughts")
    assert (tmp_path / "run" / "exports" / "trl").is_dir()
    # A recipe says what its author wrote into it, and so does the copy that the run resumes from.
    assert searched(tmp_path, path, tmp_path / "run" / "recipe.toml") > 15
    for secret in (KEY, HEADER, TOKEN):
        assert secret not in (tmp_path / "run" / "recipe.toml").read_text()


@pytest.mark.parametrize("status", [400, 401])
def test_no_key_in_what_a_refusal_leaves_behind(sim: str, tmp_path: Path, status: int):
    with echoing(sim, refusing(status), always=True) as url:
        path = recipe(url, tmp_path)
        lpt(tmp_path, f"run {path} --out run", "status run", "ledger run", f"doctor {path} --json")
    assert searched(tmp_path, path, tmp_path / "run" / "recipe.toml") > 3
