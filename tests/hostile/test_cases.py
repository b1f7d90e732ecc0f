"""Known bad inputs, each in a process's time and memory: a watchdog ends a reader that never comes back."""

import faulthandler
from collections.abc import Iterator

import pytest

from tests.hostile.cases import CASES
from tests.hostile.readers import READERS


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[None]:
    """What is quadratic in 200,000 characters takes hours: a minute tells it from a slow machine."""
    faulthandler.dump_traceback_later(60, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize(("reader", "case"), [(reader, case) for reader in CASES for case in CASES[reader]])
def test_it_is_read_or_refused_in_words(reader: str, case: str):
    READERS[reader](CASES[reader][case])
