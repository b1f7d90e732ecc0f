"""Keys and passwords: sent where they belong, shown nowhere."""

import logging

import pytest
from aiohttp import web

from lpt.errors import Denied, ModelError, UserError
from tests.models.conftest import (
    CANARY,
    Answer,
    ask,
    bad,
    endpoint,
    good,
    scripted,
)


def hang_up(request: web.Request) -> web.Response:
    assert request.transport
    request.transport.close()
    return web.Response()


async def test_the_key_is_sent_and_shown_nowhere(monkeypatch, caplog, capsys):
    monkeypatch.setenv("CANARY_KEY", f"{CANARY}\n")
    monkeypatch.setenv("CANARY_HEADER", f"{CANARY}-2")
    caplog.set_level(logging.DEBUG)
    told: list[Answer] = [
        bad(401, f"Incorrect API key provided: {CANARY}"),
        bad(400, "x" * 290 + CANARY),
        bad(500, CANARY),
        bad(307, Location=f"https://{CANARY}@elsewhere/?key={CANARY}"),
        lambda _: web.Response(text=f"not json {CANARY}"),
        good({"index": "nowhere"}),
        hang_up,
    ]
    seen = []
    for answer in told:
        async with (
            scripted(answer) as server,
            endpoint(
                f"{server.url}?key={CANARY}-3",
                key_env="CANARY_KEY",
                headers={"X-Other": "$CANARY_HEADER", "X-Plain": "plain"},
                attempts=1,
            ) as model,
        ):
            with pytest.raises(ModelError) as caught:
                await model.ask(ask())
            assert server.headers[0]["Authorization"] == f"Bearer {CANARY}"
            assert server.headers[0]["X-Other"] == f"{CANARY}-2"
            assert server.headers[0]["X-Plain"] == "plain"
            assert server.queries == [f"key={CANARY}-3"]
            error: BaseException | None = caught.value
            while error:
                seen += [str(error), repr(error), repr(vars(error))]
                error = error.__cause__ or error.__context__
            seen += [repr(model), str(model.stats)]
    output = capsys.readouterr()
    assert CANARY[:12] not in "".join([*seen, caplog.text, output.out, output.err])


async def test_a_redirect_is_not_followed_with_the_key(monkeypatch):
    monkeypatch.setenv("CANARY_KEY", CANARY)
    async with (
        scripted() as elsewhere,
        scripted(bad(307, Location=elsewhere.url)) as server,
        endpoint(server.url, key_env="CANARY_KEY") as model,
    ):
        with pytest.raises(Denied, match=r"set models\.one\.url") as caught:
            await model.ask(ask())
    assert caught.value.kind == "redirect"
    assert not elsewhere.paths


async def test_a_missing_key_names_its_variable_before_anything_is_sent(monkeypatch):
    monkeypatch.delenv("CANARY_KEY", raising=False)
    async with scripted() as server, endpoint(server.url, key_env="CANARY_KEY") as model:
        with pytest.raises(UserError, match=r"models.one.key_env .* CANARY_KEY"):
            await model.ask(ask())
        monkeypatch.setenv("CANARY_KEY", "sk-\x01")
        with pytest.raises(UserError, match="no header can carry") as caught:
            await model.ask(ask())
    assert "sk-" not in str(caught.value)
    assert not server.paths


async def test_a_password_in_the_url_is_sent_as_such_and_shown_nowhere(monkeypatch):
    monkeypatch.setenv("CANARY_KEY", "another")
    async with scripted(bad(401, CANARY)) as server:
        url = server.url.replace("//", f"//user:{CANARY}@")
        async with endpoint(url) as model, endpoint(url, key_env="CANARY_KEY") as twice:
            with pytest.raises(Denied) as caught:
                await model.ask(ask())
            assert server.headers[0]["Authorization"].startswith("Basic ")
            assert CANARY not in f"{caught.value} {model!r}"
            with pytest.raises(UserError, match="only one can be sent"):
                await twice.ask(ask())
