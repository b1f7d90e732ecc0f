"""One process at a time: a lock on a file that says who holds it.

The kernel lets go of the lock when its process ends, however it ends; what is left then is a file that says
nothing any more. A lock that is let go takes its file with it.
"""

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from lpt.errors import RunError, StoreError

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process alone.

    Raises:
        RunError: another process holds it.
        StoreError: it cannot be written, or its disk knows no locks.
    """
    file = acquire(folder / ".lock", f"the run {folder}")
    if isinstance(file, str):
        raise RunError(f"{folder} is in use by {file}: wait for it, or stop it, or choose another --out")
    try:
        yield
    finally:
        release(folder / ".lock", file)


def hold_ledger(ledger: Path, user: str = "") -> int:
    """Hold a ledger for this process alone; what `release_ledger` takes.

    Raises:
        RunError: another process holds it.
        StoreError: its folder cannot be written, or its disk knows no locks.
    """
    file = acquire(_of_ledger(ledger), f"the ledger {ledger}", user)
    if isinstance(file, str):
        raise RunError(
            f"the ledger {ledger} is in use by {file}: wait for it, or stop it, or give this run a ledger of its "
            "own (`ledger` in the recipe)"
        )
    return file


def release_ledger(ledger: Path, file: int) -> None:
    """Let go of a ledger."""
    release(_of_ledger(ledger), file)


def _of_ledger(ledger: Path) -> Path:
    return ledger.with_name(f".{ledger.name}.lock")


def acquire(path: Path, what: str, user: str = "") -> int | str:
    """Take a lock; the open file to release it by, or who holds it.

    Args:
        path: the file to lock; made if it is not there.
        what: what it is the lock of, for messages.
        user: what it is held for, told to others.

    Raises:
        StoreError: the file cannot be made, or its disk knows no locks.
    """
    while True:
        file = None
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is(path, file):  # who held it has taken the file away since we opened it
                os.close(file)
                continue
            os.ftruncate(file, 0)
        except BlockingIOError:
            assert file is not None
            holder = os.pread(file, 1000, 0).decode("utf-8", "replace").strip()
            os.close(file)
            return holder or "another process"
        except OSError as error:
            if file is not None:
                os.close(file)
            raise StoreError(
                f"{what} cannot be held for one process alone ({path}: {error.strerror}): {_advice(error)}"
            ) from error
        with contextlib.suppress(OSError):  # on a full disk it is held all the same, by nobody in particular
            told = f"process {os.getpid()} on {socket.gethostname()}" + (f" ({user})" if user else "")
            os.pwrite(file, told.encode("utf-8", "replace"), 0)
        return file


def _advice(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full: make room and run the same command again"
    if error.errno in _NO_LOCKS:
        return "the disk knows no locks: choose a local one"
    return "check the folder's permissions"


def release(path: Path, file: int) -> None:
    """Let go of a lock; its file goes, too."""
    with contextlib.suppress(OSError):
        if _is(path, file):
            path.unlink()
    os.close(file)


def _is(path: Path, file: int) -> bool:
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except OSError:
        return False
