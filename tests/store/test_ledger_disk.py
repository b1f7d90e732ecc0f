"""A ledger on a disk that is full, read-only or of something else: it is said, and what was kept stays."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

from lpt.errors import StoreError
from lpt.models.base import Usage
from lpt.store.ledger import Ledger, canonical
from tests.scripted import SETTINGS, request
from tests.store.test_ledger import reply


def test_a_damaged_file_is_told_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    path.write_bytes(b"this is no database, and it is long enough to be looked at as one " * 20)
    with pytest.raises(StoreError, match="damaged, and nothing in it can be read: move it away") as caught:
        Ledger(path)
    assert str(path) in str(caught.value)


async def test_a_ledger_of_another_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="is of version 99"):
        Ledger(path)


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        Ledger(tmp_path / "file" / "l.sqlite")
    (tmp_path / "folder.sqlite").mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        Ledger(tmp_path / "folder.sqlite")


CHILD = """
import asyncio, os
from pathlib import Path
from lpt.errors import StoreError
from lpt.store.ledger import Ledger
from tests.scripted import request
from tests.store.test_ledger import keep
"""


def in_a_child(code: str) -> str:
    """Run code in a process of its own, whose rights and limits it may give up; what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD + code],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_folder_that_may_not_be_written_is_told() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own cannot be seen by other users
        folder = Path(name)
        with Ledger(folder / "l.sqlite"):
            pass
        (folder / "l.sqlite").chmod(0o444)
        folder.chmod(0o555)
        said = in_a_child(
            f"""
if os.getuid() == 0:
    os.setuid(65534)
for name in ("l.sqlite", "new.sqlite"):
    try:
        Ledger(Path({name!r}) / name)
    except StoreError as error:
        print(error)
"""
        )
        folder.chmod(0o755)
    assert said.count("check the folder's permissions") == 2, said


FILL = """
async def fill(path):
    with Ledger(path) as ledger:
        kept = []
        try:
            for i in range(2000):
                kept += await keep(ledger, request(f"{i}"), "x" * 2000)
        except StoreError as error:
            print(error)
        try:
            await keep(ledger, request("after"), "x")
        except StoreError as error:
            print("still refused")
        print(len(kept) > 20, len(ledger.get(kept)) == len(kept))
"""


def test_a_full_disk_is_told_and_what_was_kept_stays(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if os.getuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small disk takes the right to mount one")
    try:
        said = in_a_child(FILL + f"\nasyncio.run(fill(Path({str(tmp_path)!r}) / 'l.sqlite'))")
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert "the disk is full: make room and run the same command again" in said
    assert said.endswith("still refused\nTrue True\n")


def test_a_limit_on_the_size_of_files_is_told_and_nobody_waits_for_ever(tmp_path: Path) -> None:
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))\n"
    said = in_a_child(limit + FILL + f"\nasyncio.run(fill(Path({str(tmp_path)!r}) / 'l.sqlite'))")
    assert "what was committed is kept" in said
    assert said.endswith("still refused\nTrue True\n")


async def test_whatever_goes_wrong_in_a_write_those_who_wait_hear_of_it(tmp_path: Path) -> None:
    asked = request()
    answered = msgspec.structs.replace(reply("a", asked=asked), usage=Usage(2**70, 0, 0))
    with Ledger(tmp_path / "l.sqlite") as ledger:
        writing = ledger.put(asked, "m", canonical(asked, SETTINGS), answered)
        with pytest.raises(StoreError, match=r"l\.sqlite failed"):
            await asyncio.wait_for(writing, 60)
