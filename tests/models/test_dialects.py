"""Every way of continuing a turn, against servers that enforce their own rules; and what comes back of it."""

import json
from typing import Any

import pytest
from aiohttp import web

from lpt.chat import Template
from lpt.errors import Refused, UserError
from lpt.models import dialects
from lpt.models.base import Choice, Image, Message, Sampling
from lpt.models.dialects import Dialect, Way, said_again, without_echo
from lpt.settings import ModelSettings
from tests.models.conftest import ask, bad, choice, endpoint, good, scripted, simulated, texts

PREFILL = "<think>\nIt looks blue. Wait,"


async def reached(dials: dict[str, Any], request: Any, **settings: Any) -> Any:
    """What the responder behind the simulated server was asked."""
    async with simulated(**dials) as url, endpoint(url, **settings) as model:
        return json.loads(texts(await model.ask(request))[0])


@pytest.mark.parametrize("dialect", ["continue", "trailing", "prefix"])
async def test_a_server_that_knows_one_way_alone_is_reached_by_it(dialect):
    seen = await reached({"prefill": dialect}, ask(prefill=PREFILL), prefill=dialect)
    assert seen == {"seed": 7, "turns": [["user", "hi", 0]], "prefill": PREFILL}


@pytest.mark.parametrize("template", ["chatml", "deepseek-r1"])
async def test_completions_send_the_rendered_chat(template):
    settings = {"prefill": "completions", "template": template}
    seen = await reached({"prefill": "ignored"}, ask(prefill=PREFILL), **settings)
    assert seen == {"seed": 7, "turns": [["user", "hi", 0]], "prefill": PREFILL}


async def test_in_every_true_dialect_the_same_is_said():
    request = ask(prefill=PREFILL, n=2)
    said = []
    for settings in ("continue", "trailing", "prefix", "completions"):
        template = "chatml" if settings == "completions" else None
        async with simulated() as url, endpoint(url, prefill=settings, template=template) as model:
            said.append(await model.ask(request))
    assert len({reply.choices for reply in said}) == 1
    assert not said[0].choices[0].instructed


async def test_instructed_quotes_the_turn_and_says_so():
    async with scripted() as server, endpoint(server.url, prefill="instructed") as model:
        picture = (Image(key="k", data=b"x"),)
        reply = await model.ask(ask("what?", prefill="It {is} a", images=picture))
        await model.ask(ask("what?"))
    assert reply.choices[0].instructed
    (message,) = server.bodies[0]["messages"]
    image, text = message["content"]
    assert image["type"] == "image_url"
    assert text["text"].startswith("what?\n\n")
    assert "\nIt {is} a\n" in text["text"]
    assert server.bodies[1]["messages"] == [{"role": "user", "content": "what?"}], "without a prefill, nothing"


async def test_vllm_refuses_what_we_never_send():
    def strict(request: web.Request) -> web.Response:
        body = server.bodies[-1]
        last = body["messages"][-1]
        if last["role"] != "assistant" or body.get("add_generation_prompt", True):
            return bad(400, "Cannot set both `continue_final_message` and `add_generation_prompt` to True.")
        assert body["continue_final_message"] is True
        return good(choice(" it is red."))

    async with scripted(strict) as server:
        async with endpoint(server.url, prefill="continue") as model:
            assert texts(await model.ask(ask(prefill=PREFILL))) == [" it is red."]
        async with endpoint(server.url, prefill="trailing") as model:
            with pytest.raises(Refused):
                await model.ask(ask(prefill=PREFILL))


@pytest.mark.parametrize("prefill", ["continue", "completions"])
async def test_more_words_to_stop_at_than_a_server_takes_are_not_sent(prefill: Dialect):
    stops = ("six", "five", "four", "three", "two", "one")
    request = ask(prefill=PREFILL, sampling=Sampling(max_tokens=64, stop=stops))
    async with scripted() as server, endpoint(server.url, prefill=prefill, template="chatml") as model:
        await model.ask(request)
    assert server.bodies[0]["stop"] == ["six", "five", "four", "three"]
    async with simulated() as url, endpoint(url, prefill=prefill, template="chatml") as model:
        await model.ask(request)  # which refuses more, as vLLM does


async def test_completions_cannot_show_an_image():
    async with scripted() as server, endpoint(server.url, prefill="completions", template="chatml") as model:
        with pytest.raises(UserError, match=r"models\.one\.prefill.*image"):
            await model.ask(ask(prefill="a", images=(Image(key="k", data=b"x"),)))
    assert not server.paths


async def test_completions_need_a_template():
    async with scripted() as server, endpoint(server.url, prefill="completions") as model:
        with pytest.raises(UserError, match=r"models\.one\.template"):
            await model.ask(ask(prefill="a"))


def test_completions_leave_room_for_a_thought_and_no_second_bos():
    settings = ModelSettings(model="m")
    request = ask(prefill="a", sampling=Sampling())
    _, r1 = dialects.body(request, settings, Way("completions"), Template.load("deepseek-r1"), "one")
    _, chatml = dialects.body(request, settings, Way("completions"), Template.load("chatml"), "one")
    assert r1["max_tokens"] == 1024
    assert r1["add_special_tokens"] is False
    assert "add_special_tokens" not in chatml


@pytest.mark.parametrize("dialect", ["continue", "trailing", "prefix", "completions", "instructed"])
def test_a_prefill_that_ends_in_white_space_is_our_bug(dialect: Dialect):
    with pytest.raises(ValueError, match="white space"):
        dialects.body(ask(prefill="a "), ModelSettings(model="m"), Way(dialect), Template.load("chatml"), "one")


def test_a_conversation_that_ends_with_the_assistant_gets_its_instruction_from_the_user():
    request = ask(prefill="a")
    request = type(request)(
        stage="s", record="r", seed=0, prefill="a", messages=(Message("user", "q"), Message("assistant", "b"))
    )
    _, body = dialects.body(request, ModelSettings(model="m"), Way("instructed"), None, "one")
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]


# What comes back.


@pytest.mark.parametrize(
    ("prefill", "text", "meant"),
    [
        (PREFILL, PREFILL + " it is red.", " it is red."),
        (PREFILL, "\n" + PREFILL + " it is red.", " it is red."),
        (PREFILL, PREFILL, ""),
        ("\nA cup", "A cup is", " is"),
        ("<think>", "<think>Hm", "Hm"),
        ("I", "It is", "t is"),
    ],
)
def test_an_echo_is_all_of_the_turn(prefill: str, text: str, meant: str):
    assert without_echo(Choice(text=text), prefill).text == meant


@pytest.mark.parametrize("text", [" it is red.", "<think>\nIt looks green.", "", PREFILL[:-1]])
def test_what_is_not_all_of_the_turn_is_no_echo(text: str):
    assert not said_again(Choice(text=text), PREFILL)
    assert without_echo(Choice(text=text), PREFILL).text == text


@pytest.mark.parametrize(
    ("reasoning", "meant"),
    [
        (" it is red.", " it is red."),
        (PREFILL + " it is red.", " it is red."),
        (PREFILL.removeprefix("<think>\n") + " it is red.", " it is red."),
    ],
)
def test_a_thought_that_a_server_tells_apart_is_joined_again(reasoning: str, meant: str):
    choice = without_echo(Choice(text="(A)", reasoning=reasoning), PREFILL)
    assert choice.joined() == f"{meant}\n</think>\n(A)"


@pytest.mark.parametrize(
    ("opens", "prefill", "sent"),
    [
        ("", "<think>\nred", "<think>\nred"),
        ("<think>\n", "<think>\n  red", "  red"),
        ("<think>\n", "<think> red", "red"),
        ("<think>", "<think>\nred", "\nred"),
        ("<think>\n", "<think>", None),
        ("<think>\n", "red", "red"),
    ],
)
def test_a_tag_that_the_server_puts_is_left_out(opens: str, prefill: str, sent: str | None):
    assert dialects.sent(ask(prefill=prefill), Way("trailing", opens=opens)).prefill == sent
