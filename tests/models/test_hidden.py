"""However a server writes down what it was sent, no secret is left in what is told of it."""

import html
import json
import urllib.parse
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.errors import UserError
from lpt.models.hidden import hidden
from lpt.models.patience import Clock
from lpt.models.replicas import Replica
from lpt.models.trouble import Attempt

secrets = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=40)
WAYS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "json": lambda secret: json.dumps(secret)[1:-1],
    "json, slashes escaped": lambda secret: json.dumps(secret)[1:-1].replace("/", "\\/"),
    "url": lambda secret: urllib.parse.quote(secret, safe=""),
    "path": urllib.parse.quote,
    "form": urllib.parse.quote_plus,
    "lower case url": lambda secret: (
        urllib.parse.quote(secret, safe="").replace("%2B", "%2b").replace("%2F", "%2f")
    ),
    "html": html.escape,
    "html by number": lambda secret: "".join(c if c.isalnum() else f"&#{ord(c)};" for c in secret),
}


@pytest.mark.parametrize("way", WAYS)
@given(secret=secrets, around=st.text(max_size=5))
def test_a_secret_is_hidden_in_whatever_way_it_is_written(way: str, secret: str, around: str):
    told = hidden(f"{around} {WAYS[way](secret)} {around}", ["another", secret])
    assert told.strip() == f"{around} [secret] {around}".strip() or secret in around


@given(st.text())
def test_nothing_else_is_changed(text: str):
    assert hidden(text, ["sk-neverthere"]) == text


def test_the_name_that_a_server_gives_itself_is_its_words_too():
    attempt = Attempt(what="m", name="m", silence=1, key_env=None, secrets=("sk-1/2",))
    trouble = attempt.bad("stranger", "sent the reply of another model, 'sk-1%2F2\x1b[31m'", b"sk-1/2")
    assert str(trouble.error) == "m sent the reply of another model, '[secret] [31m': [secret]"


def test_what_a_password_was_packed_into_is_a_secret():
    replica = Replica("http://user:pass@host/v1?key=query", "one", 0, Clock())
    assert set(replica.secrets) == {"dXNlcjpwYXNz", "pass", "query"}


@pytest.mark.parametrize(
    "url", ["user:pa@ss@host/v1", "https//user:pass@host", "ftp://user:pass@host/", "host/v1?key=pass"]
)
def test_a_url_that_is_none_is_told_without_its_password(url: str):
    with pytest.raises(UserError, match="must begin with http") as caught:
        Replica(url, "one", 0, Clock())
    assert "pass" not in str(caught.value)
    assert "pa@ss" not in str(caught.value)
    assert "host" in str(caught.value)
