"""How a run is going, said in one line or a small table; time comes from a clock that the test turns."""

import io
import threading

import pytest
from rich.console import Console

from lpt.look.progress import Progress, duration
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
    assert Price(input=1.0, output=2.0).of(3_000_000, 1_000_000, 2_000_000) == pytest.approx(5.0)
    assert Price(input=1.0, output=2.0, cached=0.1).of(3_000_000, 1_000_000, 2_000_000) == pytest.approx(3.2)
    assert Price(input=1.0, output=2.0, cached=0.0).of(3_000_000, 0, 3_000_000) == 0
    assert Price().of(10, 10, 0) == 0


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
        seen.begin(0, {})
        assert said.wait(10)
    assert threading.active_count() == before
    text = out.getvalue()
    assert text.count("images 0/0") >= 2
    assert all(line.startswith(("images 0/0", "getting ready")) for line in text.splitlines())


def test_the_last_line_is_said_after_an_error_too() -> None:
    seen, out = progress(Clock())
    seen.begin(0, {})
    with pytest.raises(KeyError), seen:
        raise KeyError
    assert out.getvalue().startswith("images 0/0")


def test_a_run_that_could_not_begin_has_no_last_line() -> None:
    seen, out = progress(Clock())
    with pytest.raises(KeyError), seen:
        raise KeyError
    assert out.getvalue() == ""


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


def test_images_that_were_there_already_say_nothing_of_how_long_the_others_take() -> None:
    clock = Clock()
    seen, _ = progress(clock)
    seen.begin(1000, {})
    clock.now += 5
    seen.known(900)
    assert seen.line().startswith("images 900/1000")
    assert seen.line().endswith("… left")
    clock.now += 95
    seen.arrived()
    assert seen.line().endswith(f"{duration(99 * 100)} left")


def test_over_a_day_the_figures_stay_right_and_nothing_grows() -> None:
    clock = Clock()
    seen, _ = progress(clock)
    student = Traffic()
    seen.begin(20_000, {"student": student})

    def go(images: int, seconds: float, tokens: int) -> None:
        for _ in range(images):
            clock.now += seconds
            student.completion_tokens += tokens
            student.in_flight = 3
            seen.tell("think", 2, 1)
            seen.arrived()

    go(5_000, 0.001, 0)  # what the ledger knew
    go(9_000, 6.0, 600)  # fifteen hours
    assert seen.line() == (
        "images 14000/20000 · ask 0 · think 28000 (-14000) · think_harder 0"
        f" · 100 tokens/s · 10.80 spent · {duration(6_000 * 6.0)} left"
    )
    go(3_000, 12.0, 600)  # ten hours at half the speed: the day is not averaged over
    assert f" · 50 tokens/s · 14.40 spent · {duration(3_000 * 12.0)} left" in seen.line()
    assert len(seen._marks) < 300
    clock.now += 3600.0  # an hour of silence tells
    assert f"{duration(3_000 * (256 * 12 + 3600) / 256)} left" in seen.line()
    go(3_000, 1.0, 600)
    assert seen.line().endswith(f"in {duration(clock.now - 1000.0)}")
    assert f" · {15_000 * 600 / (clock.now - 1000.0):,.0f} tokens/s" in seen.line()


def test_images_that_come_in_waves_do_not_throw_the_time_that_is_left() -> None:
    clock = Clock()
    seen, _ = progress(clock)
    seen.begin(9_000, {})
    for wave in range(120):
        clock.now += 640.0  # ten seconds an image
        for _ in range(64):
            seen.arrived()
            true = 10.0 * (9_000 - seen._arrived)
            if wave >= 8:
                assert abs(seen._seconds_left() / true - 1) < 0.26, wave


def test_the_log_of_a_day_can_be_read() -> None:
    clock = Clock()
    seen, _ = progress(clock, every=10.0)
    seen.begin(1, {})
    lines = 0
    while clock.now < 1000.0 + 24 * 3600:
        clock.now += seen._pause()
        lines += 1
    assert 24 * 60 <= lines <= 1700
