"""A sample of `make stress`: kills at random points, of the run and of the server that it launched."""

from collections.abc import Iterator

import pytest

from tests.crash.killing import Killing, killing


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killing]:
    with killing(tmp_path_factory.mktemp("killed"), scenes=1) as opened:
        yield opened


def test_killed_at_any_point_it_goes_on_and_nothing_is_paid_for_twice(trials: Killing) -> None:
    told = trials.trial(1, ["asked", "asked", "time", "compose"])
    assert told.kills.total() == 4
    assert told.requests >= trials.requests


def test_a_server_that_is_killed_ends_or_goes_on_and_one_whose_run_is_killed_ends(trials: Killing) -> None:
    told = trials.trial(2, ["server", "asked"])
    assert told.kills == {"server": 1, "asked": 1}
