"""How a run is going, said in one line or a small table; time comes from a clock that the test turns."""

import io
import threading

import pytest
from rich.console import Console

from lpt.look.progress import Progress, duration, money
from lpt.models.recorded import Traffic
from lpt.settings import ModelSettings, Price

MODELS = {
    "student": ModelSettings(model="m", url="u", price=Price(input=1.0, output=2.0)),
    "reasoner": ModelSettings(model="r", url="u"),
}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def progress(clock: Clock, *, terminal: bool = False, every: float = 3600.0) -> tuple[Progress, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=60, color_system=None)
    return Progress(console, MODELS, {"think": "student"}, every=every, clock=clock), out


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (190, "3 min 10 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_as_a_person_says_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_money_is_by_the_million_and_cached_tokens_may_cost_less() -> None:
    assert money(Price(input=1.0, output=2.0), 3_000_000, 1_000_000, 2_000_000) == pytest.approx(5.0)
    assert money(Price(input=1.0, output=2.0, cached=0.1), 3_000_000, 1_000_000, 2_000_000) == pytest.approx(3.2)
    assert money(Price(input=1.0, output=2.0, cached=0.0), 3_000_000, 0, 3_000_000) == 0
    assert money(Price(), 10, 10, 0) == 0


def test_a_line_says_where_a_run_stands() -> None:
    clock = Clock()
    seen, _ = progress(clock)
    student = Traffic()
    seen.begin(10, {"student": student, "reasoner": Traffic()})
    assert seen.line() == "images 0/10 · ask 0 · think 0 · think_harder 0 · 0 tokens/s · … left"
    seen.tell("ask", 8, 1)
    seen.tell("ask", 7, 0)
    seen.tell("think", 20, 4)
    student.recalled = 5
    student.completion_tokens = 2_000_000
    student.prompt_tokens = 1_000_000
    clock.now += 100
    seen.arrived()
    seen.arrived()
    assert seen.line() == (
        "images 2/10 · ask 15 (-1) · think 20 (-4) · think_harder 0 · 5 replies known"
        " · 20,000 tokens/s · 5.00 spent · 6 min 40 s left"
    )
    for _ in range(8):
        seen.arrived()
    assert seen.line().endswith("5.00 spent · in 1 min 40 s")


def test_no_time_and_no_images_are_no_trouble() -> None:
    seen, _ = progress(Clock())
    assert seen.line().startswith("images 0/0")
    seen.begin(0, {})
    assert seen.line().endswith("in 0 s")


def test_without_a_terminal_there_are_plain_whole_lines_and_a_last_one() -> None:
    seen, out = progress(Clock())
    with seen:
        seen.begin(1, {"student": Traffic(recalled=1)})
        seen.tell("ask", 1_000_000, 1_000_000)
        seen.arrived()
    assert out.getvalue() == seen.line() + "\n"
    assert len(seen.line()) > 60, "longer than the console is wide, and not broken"
    assert "\x1b" not in out.getvalue()


def test_now_and_then_a_line_is_said_and_nobody_speaks_after_the_end() -> None:
    said = threading.Event()
    seen, out = progress(Clock(), every=0.001)
    inner = seen.line

    def heard() -> str:
        said.set()
        return inner()

    seen.line = heard  # type: ignore[method-assign]
    before = threading.active_count()
    with seen:
        assert said.wait(10)
    assert threading.active_count() == before
    text = out.getvalue()
    assert text.count("images 0/0") >= 2
    assert all(line.startswith("images 0/0") for line in text.splitlines())


def test_the_last_line_is_said_after_an_error_too() -> None:
    seen, out = progress(Clock())
    with pytest.raises(KeyError), seen:
        raise KeyError
    assert out.getvalue().startswith("images 0/0")


def test_in_a_terminal_there_is_a_table_of_stages() -> None:
    clock = Clock()
    seen, out = progress(clock, terminal=True)
    seen.begin(4, {"student": Traffic(in_flight=12)})
    seen.tell("think", 1234, 5)
    seen.arrived()
    clock.now += 10
    console = Console(file=out, width=80, color_system=None)
    console.print(seen.picture())
    rows = [line.split() for line in out.getvalue().splitlines()]
    assert ["think", "1,234", "12", "5"] in rows
    assert ["captions", "4", "0"] in rows
    assert "images 1 of 4 · 0 tokens/s · 30 s left" in out.getvalue()
    with seen:
        pass
    assert out.getvalue().rstrip().endswith("30 s left")
