"""The commands of the guides work, and print what the guides say; those of the servers' pages: test_servers.py."""

import pytest

from tests.docs.pages import carry_out, not_said, with_commands


@pytest.mark.parametrize("page", with_commands(servers=False))
def test_every_command_of_a_page_works_and_prints_what_the_page_says(page: str, server: str):
    carry_out(page, server)


def test_a_line_that_is_not_printed_is_noticed():
    said = "stage  made\ncaptions   24\nwritten to runs/a\n"
    assert not_said(["captions 7", "written to …", "…"], said) == []
    assert not_said(["captions seven"], said) == ["captions seven"]
