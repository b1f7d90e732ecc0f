import pytest

from lpt.errors import UserError
from lpt.serving.dials import FAULTS, Dials, parse_faults


def test_faults_are_read_as_a_command_line_gives_them():
    assert parse_faults(["500=0.1", "reset = .02", "cut"]) == {"500": 0.1, "reset": 0.02, "cut": 1.0}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"faults": {"rest": 0.1}}, "did you mean reset"),
        ({"faults": {"zzzzz": 0.1}}, "known: 429"),
        ({"faults": {"500": 0.7, "reset": 0.7}}, "at most 1"),
        ({"faults": {"500": -0.1}}, "between 0 and 1"),
        ({"faults": {"500": float("nan")}}, "between 0 and 1"),
        ({"latency": -1}, "latency must not be negative"),
        ({"rate_limit": float("nan")}, "rate_limit must not be negative"),
        ({"block_size": 0}, "block_size must be at least 1"),
        ({"prefill": "sometimes"}, "one of continue, trailing"),
        ({"retry_after": "soon"}, "one of none, seconds, date"),
        ({"concurrency_steps": "32"}, "as in 500:32,1500:64"),
        ({"concurrency_steps": "5:0"}, "as in 500:32,1500:64"),
        ({"batch_slowdown": -0.1}, "batch_slowdown must not be negative"),
    ],
)
def test_a_dial_out_of_range_is_refused_with_the_reason(wrong, told):
    with pytest.raises(UserError, match=told):
        Dials(**wrong)


def test_a_fault_that_cannot_be_read_is_refused():
    with pytest.raises(UserError, match="500=often"):
        parse_faults(["500=often"])


def test_every_fault_may_be_dialled():
    dials = Dials(faults=dict.fromkeys(FAULTS, 1 / len(FAULTS)), fault_seed=-3)
    assert list(dials.faults) == list(FAULTS)
