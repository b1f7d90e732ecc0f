"""What was dropped, one by one: chosen by stage and reason, with a count of what is not shown."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from lpt.errors import UserError
from lpt.look.drops import listed, print_drops, unread
from lpt.recipe import Recipe
from lpt.records import Drop
from lpt.store.run import Run
from lpt.store.tables import write_table

DROPS = [
    Drop.make("think", "t1", "a", "unparsed"),
    Drop.make("captions", "c1", "", "missing-image", "one.jpg: there is no such file"),
    Drop.make("ask", "q1", "a", "answer-not-an-option", "question 3: \x1b[31m[bold]Which?"),
    Drop.make("captions", "c2", "", "missing-image", "two.jpg: there is no such file"),
    Drop.make("captions", "c3", "", "empty-caption", "three.jpg: it says nothing"),
    Drop.make("captions", "c4", "", "missing-image", "four.jpg: there is no such file"),
    Drop.make("captions", "c5", "", "missing-image", "five.jpg: there is no such file"),
]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run.create(tmp_path / "run", Recipe())
    write_table(made.table_path("drops"), Drop, DROPS)
    return made


def printed(run: Run, **options: str | int) -> str:
    out = io.StringIO()
    print_drops(listed(run, **options), Console(file=out, width=120, color_system=None))  # type: ignore[arg-type]
    return out.getvalue()


def test_drops_come_by_stage_and_reason_and_those_left_out_are_counted(run: Run) -> None:
    assert [drop.record for drop in listed(run).drops] == ["c3", "c1", "c2", "c4", "c5", "q1", "t1"]
    some = listed(run, stage="captions", reason="missing-image", first=3)
    assert [drop.record for drop in some.drops] == ["c1", "c2", "c4"]
    assert some.rest == 1
    assert listed(run).rest == 0
    assert "and 5 more: --first 0" in printed(run, first=2)


def test_a_drop_is_a_line_whose_words_nothing_obeys(run: Run) -> None:
    text = printed(run, stage="ask")
    assert text.splitlines()[1].split() == [
        *["q1", "ask", "answer-not-an-option", "question", "3:", "\ufffd[31m[bold]Which?"]
    ]


def test_no_such_stage_and_no_such_reason_say_what_there_is(run: Run) -> None:
    with pytest.raises(UserError, match=r"--stage is .tink.; it can be captions, ask, think"):
        listed(run, stage="tink")
    with pytest.raises(UserError, match=r"at captions for .leak.; there are: empty-caption, missing-image"):
        listed(run, stage="captions", reason="leak")
    empty = Run.create(run.path.parent / "empty", Recipe())
    assert printed(empty) == "nothing was dropped\n"


def test_what_was_not_taken_in_is_named_for_each_reason(run: Run) -> None:
    many, one = unread(run)
    named = "; ".join(f"{name}.jpg: there is no such file" for name in ("one", "two", "four"))
    assert many == f"4 not taken in (missing-image): {named}; and 1 more"
    assert one == "1 not taken in (empty-caption): three.jpg: it says nothing"
