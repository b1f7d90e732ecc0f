"""The commands of the servers' pages work, against a simulation that is like the real one where it matters."""

import pytest

from tests.docs.pages import DIALS, a_server, carry_out, with_commands


@pytest.mark.parametrize("page", with_commands(servers=True))
def test_every_command_of_a_page_works_and_prints_what_the_page_says(page: str):
    with a_server(page) as url:
        carry_out(page, url)


def test_every_server_that_is_no_simulation_of_ours_is_imitated():
    assert {page for page in with_commands(servers=True) if "sim" not in page} == set(DIALS)
