"""Commands over a run whose files are damaged: each says so in words, and none believes what was not written."""

import random
import sys
from pathlib import Path

import pytest

from lpt.cli import main
from lpt.store import manifest
from lpt.store.run import Run
from tests.hostile.kept import laid_out

COMMANDS = ("status RUN", "status RUN --json", "show RUN", "compose RUN", "export RUN --to hf", "check RUN")


def said(monkeypatch: pytest.MonkeyPatch, command: str, run: Run) -> int:
    monkeypatch.setattr(sys, "argv", ["lpt", *command.replace("RUN", str(run.path)).split()])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("table", ["questions", "thoughts", "long_thoughts", "drops"])
def test_a_command_that_meets_a_damaged_table_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], table: str
):
    monkeypatch.setenv("RUST_BACKTRACE", "0")
    chance = random.Random(table)
    failed = 0
    for i, command in enumerate(COMMANDS * 2):
        run = laid_out(tmp_path / f"{i}")
        path = manifest.usual(run.tables, table)
        data = bytearray(path.read_bytes())
        at = chance.randrange(4, len(data) // 2)  # the pages; sizes stay, so that only reading them can tell
        data[at : at + 40] = bytes(chance.randrange(256) for _ in data[at : at + 40])
        path.write_bytes(data)
        status = said(monkeypatch, command, run)
        told = capfd.readouterr()
        if command == "check RUN":
            assert status == 4
            assert path.name in told.out
        elif status == 4:
            failed += 1
            assert "lpt: " in told.err
            assert "lpt check" in told.err or "anew" in told.err
        else:
            assert status in (0, 2), told.err  # what was turned is not what it looks at
    assert failed


def test_a_manifest_removes_no_file_of_another_folder(tmp_path: Path):
    run = laid_out(tmp_path / "run")
    precious = tmp_path / "precious.parquet"
    precious.write_bytes(b"PAR1")
    (run.tables / manifest.NAME).write_text('{"tables": {"../../precious": null}}')
    with run.writing():
        pass
    Run.create(run.path, run.recipe)
    assert precious.exists()
