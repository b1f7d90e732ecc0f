"""Where to print: stdout for data, stderr for talk."""

import re
import sys
from typing import Any, TextIO

from rich.console import Console

_PIPED_WIDTH = 118
"""Columns where there is no terminal: a file or a log is not 80 wide."""
_TRAILING = re.compile(r"[ \t]+(?=\n)")


class _Trimmed:
    """A file that leaves out the blanks with which tables fill their lines: nobody sees them, and diffs do."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """Write whole lines, as a console does."""
        self._file.write(_TRAILING.sub("", text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def data() -> Console:
    """The console for what was asked for."""
    return _console(sys.stdout)


def talk() -> Console:
    """The console for everything that is said about it."""
    return _console(sys.stderr)


def _console(file: TextIO) -> Console:
    if file.isatty():
        return Console(file=file, highlight=False)
    trimmed: Any = _Trimmed(file)
    return Console(file=trimmed, width=_PIPED_WIDTH, highlight=False)
