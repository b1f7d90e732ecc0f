"""One process at a time, and the next is told who it is."""

import errno
import fcntl
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lpt.errors import RunError, StoreError
from lpt.store.lock import acquire, held, hold_ledger, release, release_ledger


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_who_holds_a_folder_is_told_to_the_next_and_the_lock_goes_with_it(tmp_path: Path) -> None:
    told = f"in use by process {os.getpid()} on {socket.gethostname()}: wait for it, or stop it"
    with held(tmp_path):
        for _ in range(2):
            with pytest.raises(RunError, match=told), held(tmp_path):
                pass
    assert names(tmp_path) == []
    with held(tmp_path):
        pass


def test_what_a_killed_process_left_hinders_nobody(tmp_path: Path) -> None:
    code = "import os, sys; from pathlib import Path; from lpt.store.lock import acquire\n"
    code += "acquire(Path(sys.argv[1]), 'it', 'runs/killed'); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / ".lock")], check=False)
    assert b"(runs/killed)" in (tmp_path / ".lock").read_bytes()
    with held(tmp_path):
        assert b"killed" not in (tmp_path / ".lock").read_bytes()


def test_of_many_at_once_one_holds_it_at_each_moment(tmp_path: Path) -> None:
    path, inside, most, turns = tmp_path / ".lock", [0], [0], [0]
    counting = threading.Lock()

    def work() -> None:
        done = 0
        while done < 50:
            file = acquire(path, "it")
            if isinstance(file, str):
                continue
            with counting:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            with counting:
                inside[0] -= 1
                turns[0] += 1
            release(path, file)
            done += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, turns) == ([1], [200])


def test_a_ledger_is_held_apart_from_its_folder(tmp_path: Path) -> None:
    with held(tmp_path):
        lock = hold_ledger(tmp_path / "l.sqlite", "runs/one")
        with pytest.raises(RunError, match=r"\(runs/one\): .* or give this run a ledger of its own"):
            hold_ledger(tmp_path / "l.sqlite")
        release_ledger(tmp_path / "l.sqlite", lock)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOLCK, "the disk knows no locks"), (errno.ENOSPC, "make room"), (errno.EIO, "permissions")],
)
def test_a_disk_that_cannot_lock_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StoreError, match=f"cannot be held for one process alone .*{advice}"), held(tmp_path):
        pass
