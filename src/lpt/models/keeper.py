"""Stands between us and a server that we launched, so that the server never outlives us.

    python keeper.py GRACE_SECONDS COMMAND [ARGUMENT …]

Our end of its stdin closes when we want the server to stop, and just as well when we are killed: both end the
command and all that it started. A death signal (PR_SET_PDEATHSIG) would need code to run between fork and exec,
which is not safe in a process with threads, reaches no grandchildren, and exists on Linux alone.

Runs as a script of its own, before anything is installed: the standard library only.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

_POLL_SECONDS = 0.02


def main(grace: float, command: list[str]) -> int:
    """Run the command until it ends or our stdin does; its exit status, or 128 + the signal's number."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # interrupts nothing: the end of stdin is what counts
    try:
        # The recipe's own command, without a shell.
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return 127
    stopping = threading.Event()
    threading.Thread(target=_report, args=[child, stopping], daemon=True).start()
    while os.read(0, 1):
        pass
    stopping.set()
    _end(child, grace)
    return _status(child)


def _report(child: "subprocess.Popen[bytes]", stopping: threading.Event) -> None:
    """Wait for a command that ends by itself; what it leaves behind ends, too."""
    child.wait()
    if not stopping.is_set():
        _signal(child, signal.SIGKILL)
        os._exit(_status(child))  # the main thread is waiting for stdin


def _end(child: "subprocess.Popen[bytes]", grace: float) -> None:
    """Kindly first, then not; the command's whole process group each time."""
    _signal(child, signal.SIGTERM)
    until = time.monotonic() + grace
    while time.monotonic() < until and _signal(child, 0):
        time.sleep(_POLL_SECONDS)
    _signal(child, signal.SIGKILL)
    child.wait()


def _signal(child: "subprocess.Popen[bytes]", number: int) -> bool:
    """Signal the group; False when nobody is left in it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)
        return True
    return False


def _status(child: "subprocess.Popen[bytes]") -> int:
    code = child.returncode
    return code if code is not None and code >= 0 else 128 - (code or 0)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
