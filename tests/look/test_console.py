"""Where there is no terminal, lines end where their words end."""

import io

import pytest
from rich.table import Table

from lpt.look import console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def table() -> Table:
    made = Table(box=None)
    made.add_column("name")
    made.add_column("what it is", width=30)
    made.add_row("a", "x")
    made.add_row("two words", "")
    return made


@pytest.mark.parametrize("name", ["data", "talk"])
def test_a_pipe_gets_no_trailing_blanks_and_a_terminal_gets_its_colours(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    stream = {"data": "stdout", "talk": "stderr"}[name]
    pipe, terminal = io.StringIO(), Terminal()
    monkeypatch.setattr(f"sys.{stream}", pipe)
    getattr(console, name)().print(table())
    assert [line.split() for line in pipe.getvalue().splitlines()] == [
        *[["name", "what", "it", "is"], ["a", "x"], ["two", "words"]]
    ]
    assert all(line == line.rstrip() for line in pipe.getvalue().splitlines())
    monkeypatch.setattr(f"sys.{stream}", terminal)
    monkeypatch.setenv("TERM", "xterm")
    made = getattr(console, name)()
    assert made.is_terminal
    made.print(table())
    assert "a" in terminal.getvalue()
