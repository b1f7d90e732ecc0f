"""What servers make of turns, and say nowhere: found out over HTTP, once, and only where it is of account."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lpt.errors import Refused, UserError
from lpt.models.base import Sampling
from lpt.models.doctor import examine
from lpt.models.endpoint import Endpoint
from lpt.needs import warnings
from lpt.settings import ModelSettings, Prefill
from tests.conftest import small_recipe
from tests.models.conftest import Script, ask, bad, choice, endpoint, good, scripted, texts

THOUGHT = "<think>\nThe cup stands left of the plate, and the spoon lies on it.\nWait,"
MARK = "<\uff5cbegin\u2581of\u2581sentence\uff5c>"


class Server:
    """A server with a template, which counts characters for tokens and says a word of its own choice.

    Attributes:
        prompts: what it made of the turns that it was to go on from.
    """

    def __init__(
        self, *, opens: bool = False, thinks: bool = False, echoes: bool = False, says: str = " red.", **more: Any
    ) -> None:
        self.opens = opens
        """Its template opens the thought where a reply begins."""
        self.thinks = thinks
        """It closes the thought before a last message, and takes an open one as `reasoning_content`."""
        self.echoes = echoes
        self.says = says
        self.renders: bool = more.pop("renders", True)
        self.trailing: bool = more.pop("trailing", True)
        """It goes on from a last message; else from one with vLLM's flag."""
        self.own_mark: bool = more.pop("own_mark", False)
        self.down: int = more.pop("down", 0)
        """So often /apply-template is not there yet."""
        assert not more
        self.prompts: list[str] = []
        self.probes = 0
        """Requests for one token."""
        self.script: Script | None = None

    def prompt(self, body: dict[str, Any]) -> tuple[str, str]:
        """The rendered chat, and what of it may be echoed."""
        *before, last = body["messages"]
        start = "A:\n" + "<think>\n" * self.opens
        if last["role"] != "assistant" or not (self.trailing or body.get("continue_final_message")):
            return f"U:{last['content']}\n{start}", ""
        head = f"U:{before[-1]['content']}\n"
        if not self.trailing:
            return f"{head}A:\n{last['content']}", ""
        if not self.thinks:
            return f"{head}{start}{last['content']}", last["content"]
        if last["content"]:
            return f"{head}A:\n<think>\n\n</think>\n\n{last['content']}", last["content"]
        return f"{head}A:\n<think>\n{last['reasoning_content']}", last["reasoning_content"]

    def __call__(self, request: web.Request) -> web.Response:
        assert self.script
        if request.path == "/v1/models":
            owner = "llamacpp" if self.trailing else "vllm"
            return web.json_response({"data": [{"id": "m", "owned_by": owner, "meta": {"n_ctx": 4096}}]})
        body = self.script.bodies[-1]
        if request.path == "/apply-template":
            self.down -= 1
            if self.down >= 0:
                return bad(503)
            return web.json_response({"prompt": self.prompt(body)[0]}) if self.renders else bad(404)
        said = self.says
        if body["max_tokens"] == 1:
            said = said[:1]
            self.probes += 1
        if request.path == "/v1/completions":
            prompt, turn = body["prompt"], ""
            special = self.own_mark or body.get("add_special_tokens", True)
            tokens = len(prompt.replace(MARK, "^")) + special
        else:
            prompt, turn = self.prompt(body)
            tokens = len(prompt)
        if body["max_tokens"] > 1:
            self.prompts.append(prompt)
        said = (turn if self.echoes else "") + said
        answered = choice("", reasoning_content=said) if "reasoning_content" in str(body) else choice(said)
        if request.path == "/v1/completions":
            answered = {"index": 0, "text": said, "finish_reason": "stop"}
        usage = {"prompt_tokens": tokens, "completion_tokens": len(said)}
        return web.json_response({"model": "m", "choices": [answered], "usage": usage})


@contextlib.asynccontextmanager
async def serving(server: Server, **settings: Any) -> AsyncIterator[Endpoint]:
    async with scripted(server) as script:
        server.script = script
        async with endpoint(script.url, **settings) as model:
            yield model


# Echo.


@pytest.mark.parametrize("prefill", ["I", "A cup", "<think>", THOUGHT])
@pytest.mark.parametrize("echoes", [True, False])
async def test_an_echo_is_taken_off_and_a_repetition_is_not(prefill: str, echoes: bool):
    server = Server(echoes=echoes, says=f"{prefill} again")
    async with serving(server, prefill="trailing") as model:
        for _ in range(2):
            assert texts(await model.ask(ask(prefill=prefill))) == [f"{prefill} again"]
    assert server.probes == 1


async def test_nobody_is_asked_where_no_reply_begins_with_its_turn():
    server = Server(says=" red.")
    async with serving(server, prefill="trailing") as model:
        assert texts(await model.ask(ask(prefill="I"))) == [" red."]
    assert not server.probes


async def test_many_at_once_ask_once():
    server = Server(echoes=True)
    async with serving(server, prefill="trailing") as model:
        replies = await asyncio.gather(*(model.ask(ask(str(i), prefill="I see")) for i in range(20)))
    assert {text for reply in replies for text in texts(reply)} == {" red."}
    assert server.probes == 1


async def test_a_limit_under_its_other_name_is_kept_to_one_token_as_well():
    def echo(_: web.Request) -> web.Response:
        body = script.bodies[-1]
        return good(choice(body["messages"][-1]["content"] + " red."[: body["max_completion_tokens"]]))

    extra = {"max_completion_tokens": 64}
    async with scripted(echo) as script, endpoint(script.url, prefill="continue", extra=extra) as model:
        assert texts(await model.ask(ask(prefill="I"))) == [" red."]
    assert [body["max_completion_tokens"] for body in script.bodies] == [64, 1]


@pytest.mark.parametrize(("prefill", "meant"), [(THOUGHT, " red."), ("<think>", " red."), ("I see", "I see red.")])
async def test_a_server_that_refuses_to_be_asked_is_believed_where_chance_is_out_of_the_question(
    prefill: str, meant: str
):
    def picky(_: web.Request) -> web.Response:
        return bad(400) if script.bodies[-1]["max_tokens"] == 1 else good(choice(f"{prefill} red."))

    async with scripted(picky) as script, endpoint(script.url, prefill="continue") as model:
        for _ in range(2):
            assert texts(await model.ask(ask(prefill=prefill))) == [meant]
        assert len(script.bodies) == 3


@pytest.mark.parametrize(("prefill", "meant"), [(THOUGHT, " red."), ("I see", "I see red.")])
async def test_a_model_that_is_asked_in_words_and_says_it_again_all_the_same(prefill: str, meant: str):
    async with scripted(good(choice(f"{prefill} red."))) as script:
        async with endpoint(script.url, prefill="instructed") as model:
            assert texts(await model.ask(ask(prefill=prefill))) == [meant]
        assert len(script.bodies) == 1


# A tag of the server's own.


@pytest.mark.parametrize("thinks", [False, True])
@pytest.mark.parametrize("opens", [False, True])
@pytest.mark.parametrize("echoes", [False, True])
async def test_a_thought_is_opened_once_and_not_closed(opens: bool, thinks: bool, echoes: bool):
    server = Server(opens=opens, thinks=thinks, echoes=echoes)
    async with serving(server) as model:
        for turn in (THOUGHT, THOUGHT.replace("Wait,", "Hmm,")):
            reply = await model.ask(ask(prefill=turn, n=1))
            assert server.prompts[-1] == f"U:hi\nA:\n{turn}"
            (one,) = reply.choices
            assert (one.reasoning or one.text) == " red."


@pytest.mark.parametrize("thinks", [False, True])
async def test_without_a_tag_of_ours_the_template_s_is_there_once(thinks: bool):
    server = Server(opens=True, thinks=thinks)
    async with serving(server) as model:
        await model.ask(ask(prefill="The cup"))
    assert server.prompts == ["U:hi\nA:\n<think>\nThe cup"]


@pytest.mark.parametrize("opens", [False, True])
async def test_a_tag_alone_is_said_once(opens: bool):
    server = Server(opens=opens)
    async with serving(server) as model:
        await model.ask(ask(prefill="<think>"))
    assert server.prompts[0].rstrip() == "U:hi\nA:\n<think>"


async def test_a_turn_that_comes_out_as_another_is_refused_with_what_to_set():
    server = Server(thinks=True)
    cure = r'models\.one\.prefill = "completions" and models\.one\.template'
    async with serving(server) as model:
        for _ in range(2):
            with pytest.raises(UserError, match=cure):
                await model.ask(ask(prefill="The cup"))
        await model.ask(ask(prefill=THOUGHT))
    assert server.prompts == [f"U:hi\nA:\n{THOUGHT}"]


async def test_a_server_that_renders_nothing_is_sent_the_turn_as_it_is():
    server = Server(opens=True, renders=False)
    async with serving(server) as model:
        await model.ask(ask(prefill=THOUGHT))
    assert server.prompts == [f"U:hi\nA:\n<think>\n{THOUGHT}"]


async def test_a_server_that_is_not_up_yet_is_waited_for():
    server = Server(opens=True, down=1)
    async with serving(server, prefill="trailing") as model:
        await model.ask(ask(prefill=THOUGHT))
    assert server.prompts == [f"U:hi\nA:\n{THOUGHT}"]


async def test_what_it_renders_has_the_recipe_s_own_fields():
    server = Server(opens=True)
    kwargs = {"chat_template_kwargs": {"enable_thinking": True}}
    async with serving(server, prefill="trailing", extra=kwargs) as model:
        await model.ask(ask(prefill=THOUGHT, sampling=Sampling(max_tokens=8, extra={"reasoning_format": "none"})))
    assert server.script
    assert all(body["chat_template_kwargs"] for body in server.script.bodies)
    assert all(body["reasoning_format"] == "none" for body in server.script.bodies)


# A mark of its own.


@pytest.mark.parametrize("own_mark", [False, True])
async def test_a_text_begins_with_one_mark(own_mark: bool):
    server = Server(own_mark=own_mark)
    async with serving(server, prefill="completions", template="deepseek-r1") as model:
        for _ in range(2):
            reply = await model.ask(ask(prefill=THOUGHT))
            text = server.prompts[-1].removeprefix(MARK)
            assert text.startswith("<\uff5cUser\uff5c>hi")
            assert reply.usage.prompt_tokens == 1 + len(text)
    assert server.probes == 1


async def test_a_server_that_refuses_to_count_a_mark_gets_it_as_before():
    def picky(_: web.Request) -> web.Response:
        return bad(400) if script.bodies[-1]["prompt"] == MARK else good({"index": 0, "text": "red"})

    settings: dict[str, Any] = {"prefill": "completions", "template": "deepseek-r1"}
    async with scripted(picky) as script, endpoint(script.url, **settings) as model:
        await model.ask(ask(prefill=THOUGHT))
    assert script.bodies[-1]["prompt"].startswith(MARK)


async def test_a_denial_is_no_finding():
    settings: dict[str, Any] = {"prefill": "completions", "template": "deepseek-r1"}
    async with scripted(bad(401)) as script, endpoint(script.url, **settings) as model:
        with pytest.raises(Refused):
            await model.ask(ask(prefill=THOUGHT))
    assert len(script.bodies) == 1


# What the doctor makes of it.


WAYS: list[dict[str, Any]] = [
    {"prefill": "continue"},
    {"prefill": "trailing"},
    {"prefill": "completions", "template": "deepseek-r1"},
]


@pytest.mark.parametrize("settings", WAYS, ids=lambda settings: settings["prefill"])
@pytest.mark.parametrize("opening", ["", "<think>\\n"])
async def test_a_turn_without_the_tag_is_warned_of_where_the_template_opens_it(
    settings: dict[str, Any], opening: str
):
    server = Server(opens=True, trailing=settings["prefill"] != "continue")
    async with scripted(server) as script:
        server.script = script
        model = ModelSettings(model="m", url=script.url, **settings)
        found = (await examine({"reasoner": model}, Path("/nowhere")))["reasoner"]
        recipe = small_recipe(script.url, f'think_harder.opening="{opening}"')
    assert found.opens == "yes"
    assert found.can("prefill") == ("unsure" if "template" in settings else "yes"), "this server's is another one"
    assert found.context == 4096
    warned = [text for text in warnings(recipe, {"reasoner": found}) if "<think>" in text]
    assert bool(warned) == (not opening)
    if warned:
        assert re.search(r'think_harder\.opening = "<think>\\n" is right in both$', warned[0])
        assert ("nobody opens it" in warned[0]) == (settings["prefill"] == "continue")


@pytest.mark.parametrize("way", ["continue", "trailing"])
async def test_a_template_that_opens_nothing_is_not_warned_of(way: Prefill):
    server = Server(trailing=way == "trailing")
    async with scripted(server) as script:
        server.script = script
        model = ModelSettings(model="m", url=script.url, prefill=way)
        found = (await examine({"reasoner": model}, Path("/nowhere")))["reasoner"]
    assert found.opens == "no"
    assert found.can("prefill") == "yes", found.why("prefill")


async def test_a_model_that_goes_on_from_thoughts_alone_is_told():
    server = Server(thinks=True)
    async with scripted(server) as script:
        server.script = script
        found = (await examine({"one": ModelSettings(model="m", url=script.url)}, Path("/nowhere")))["one"]
    assert found.can("prefill") == "yes"
    assert "only where the turn begins with <think>" in found.why("prefill")
