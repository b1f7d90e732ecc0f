"""A simulated server for the pages."""

from collections.abc import Iterator

import pytest

from tests.docs.pages import a_server


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The server of all pages that do not ask for one of their own."""
    with a_server() as url:
        yield url
