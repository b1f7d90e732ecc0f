"""A ledger is looked at where nothing may be written, and looking changes nothing."""

import asyncio
import shutil
from pathlib import Path

import pytest

from lpt.errors import StoreError
from lpt.models.base import Usage
from lpt.store.ledger import Ledger
from lpt.store.reading import LedgerReader
from lpt.store.rescue import examine
from tests.look.test_spending import spent
from tests.scripted import request
from tests.store.test_ledger import keep
from tests.store.test_ledger_disk import in_a_child

LOOK = """
import ctypes, io
from rich.console import Console
import lpt.look.spending, lpt.look.status, lpt.look.show
from lpt.store.run import Run
# Root that has given up its capabilities is bound by permissions like anybody else (capset(2)).
ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())
run = Run.open(Path({name!r}))
try:
    run.ledger_path.with_name("new").touch()
    print("it may be written")
except OSError:
    pass
try:
    print(lpt.look.spending.spending_json(run))
    print(lpt.look.status.status_json(run))
    lpt.look.spending.print_spending(run, Console(file=io.StringIO()))
except StoreError as error:
    print(error)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def lock(folder: Path) -> None:
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    folder.chmod(0o555)


async def test_a_run_that_may_not_be_written_can_be_looked_at(tmp_path: Path) -> None:
    await spent(tmp_path, think=("m", Usage(1000, 500, 0)))
    lock(tmp_path)
    before = names(tmp_path)
    said = in_a_child(LOOK.format(name=str(tmp_path)))
    assert '"prompt_tokens":1000' in said
    assert '"stages":[' in said
    assert "it may be written" not in said
    assert names(tmp_path) == before


async def test_commits_that_cannot_be_brought_home_are_told_and_not_left_out(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        await keep(ledger, request("one"), "1")
        killed = tmp_path / "killed"  # what a process leaves behind that is killed now
        killed.mkdir()
        for name in ("ledger.sqlite", "ledger.sqlite-wal"):
            shutil.copy(tmp_path / name, killed / name)
    (killed / "recipe.toml").write_text("")
    lock(tmp_path)
    said = in_a_child(LOOK.format(name=str(killed)))
    assert "left commits in ledger.sqlite-wal" in said
    assert "Copy the run to where you may write" in said
    killed.chmod(0o755)
    (killed / "ledger.sqlite").chmod(0o644)
    (killed / "ledger.sqlite-wal").chmod(0o644)
    with LedgerReader(killed / "ledger.sqlite") as reader:
        assert reader.spent()[0].calls == 1


async def test_a_reader_sees_what_a_writer_commits_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "l?edger#.sqlite"
    with Ledger(path) as ledger, LedgerReader(path) as reader:
        (key,) = await keep(ledger, request("one"), "1")
        assert reader.get([key])[key].text == "1"
        assert [call.outcome for call, _ in reader.of_record("think", "r")] == ["ok"]
    with LedgerReader(path) as reader:
        assert reader.get([key])[key].text == "1"
    assert names(tmp_path) == [path.name]


def test_what_is_no_ledger_is_told_and_none_is_made(tmp_path: Path) -> None:
    (tmp_path / "l.sqlite").write_bytes(b"something else, and long enough to look at" * 20)
    with pytest.raises(StoreError, match="it is damaged"):
        LedgerReader(tmp_path / "l.sqlite")
    with pytest.raises(StoreError, match="unable to open"):
        LedgerReader(tmp_path / "none.sqlite")
    assert names(tmp_path) == ["l.sqlite"]


def test_a_file_in_which_nothing_was_written_yet_knows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    path.touch()
    with LedgerReader(path) as reader:
        assert reader.get(["00" * 16]) == {}
        assert reader.spent() == []
        assert reader.spent(["00" * 16]) == []
    health = examine(path)
    assert (health.sound, health.replies, health.calls) == (True, 0, 0)
    assert path.stat().st_size == 0
    with Ledger(path):
        pass
    assert examine(path).sound


async def test_the_calls_of_a_record_come_with_their_replies_in_order(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        first = request("one", stage="ask", record="c", seed=5, n=2)
        await keep(ledger, first, "a", "b")
        await asyncio.gather(keep(ledger, request("x", stage="think", record="c"), "no"))
        await ledger.put_failure(request("two", stage="ask", record="c"), "m", b"", "timeout", "nothing came")
        found = ledger.of_record("ask", "c")
    assert [(call.outcome, call.error, [choice.text for choice in said]) for call, said in found] == [
        ("ok", "", ["a", "b"]),
        ("timeout", "nothing came", []),
    ]
    assert found[0][0].request["messages"][0][1] == "one"
