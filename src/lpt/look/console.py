"""Where to print: stdout for data, stderr for talk."""

import sys

from rich.console import Console

_PIPED_WIDTH = 118
"""Columns where there is no terminal: a file or a log is not 80 wide."""


def data() -> Console:
    """The console for what was asked for."""
    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)


def talk() -> Console:
    """The console for everything that is said about it."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else _PIPED_WIDTH, highlight=False)
