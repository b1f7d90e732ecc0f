"""llama.cpp's own server with a tiny random GGUF, through our own launch, dialects and client."""

import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

import asking
import doctoring
from conftest import INSIDE, Server, call, serving
from lpt.chat import Template
from lpt.errors import UserError
from lpt.models import dialects, probe, quiz
from lpt.models.base import Message, Reply
from lpt.models.dialects import Way

pytestmark = pytest.mark.tool("llamacpp")
checks = pytest.mark.checks
Note = Callable[[str], None]

QUESTION = "What colour is the cup?"
THOUGHT = "<think>\nThe cup is red.\nWait,"
HEAD = """\
{{- bos_token }}
{%- for message in messages %}
"""
PLAIN = """\
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
"""
# As Qwen3's: of an assistant's turn the thought is cut off, or told apart.
THINKING = """\
{%- set thought = '' %}
{%- set words = message.content %}
{%- if message.reasoning_content is string %}
{%- set thought = message.reasoning_content %}
{%- elif '</think>' in words %}
{%- set thought = words.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
{%- set words = words.split('</think>')[-1].lstrip('\\n') %}
{%- endif %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.role == 'assistant' and (loop.last or thought) %}
{{- '<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' }}
{%- endif %}
{{- words + '<|im_end|>\\n' }}
"""
TAIL = """\
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
CLOSING = """\
{%- if add_generation_prompt and enable_thinking is defined and enable_thinking is false %}
{{- '<think>\\n\\n</think>\\n\\n' }}
{%- endif %}
"""
OPENING = TAIL.replace("assistant\\n'", "assistant\\n<think>\\n'")
OPENING_OR_CLOSING = """\
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}
{{- '<think>\\n\\n</think>\\n\\n' }}
{%- else %}
{{- '<think>\\n' }}
{%- endif %}
{%- endif %}
"""
TEMPLATES = {
    "plain": HEAD + PLAIN + TAIL,
    "opening": HEAD + PLAIN + OPENING,
    "thinking": HEAD + THINKING + TAIL + CLOSING,
    "thinking, opening": HEAD + THINKING + OPENING_OR_CLOSING,
    "deepseek-r1": (resources.files("lpt") / "templates" / "deepseek-r1.jinja").read_text(encoding="utf-8"),
}
Serve = Callable[..., Awaitable[Server]]


@pytest.fixture(scope="module")
async def serve(
    environment: Callable[[str], Path], corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Serve]:
    """A server with one of the templates, and flags; each is started once."""
    running: dict[tuple[str, str], Server] = {}
    async with contextlib.AsyncExitStack() as stack:

        async def get(name: str, flags: str = "") -> Server:
            if (name, flags) not in running:
                folder = tmp_path_factory.mktemp("llamacpp")
                python = environment("llamacpp")
                template, model = folder / "template.jinja", folder / "tiny.gguf"
                template.write_text(TEMPLATES[name], encoding="utf-8")
                call(python, INSIDE / "tiny_gguf.py", corpus, template, model)
                command = f"{python} {INSIDE / 'llamacpp_serve.py'} {model} {{port}} {flags}".strip()
                running[name, flags] = await stack.enter_async_context(serving(command, "tiny", template, folder))
            return running[name, flags]

        yield get


@pytest.fixture(scope="module")
async def server(serve: Serve) -> Server:
    """One whose template leaves the thought to the model."""
    return await serve("plain")


async def applied(server: Server, prefill: str) -> str:
    """The prompt that the server makes of a request in the dialect `trailing`, as we send it."""
    request = asking.asked(QUESTION, prefill=prefill)
    endpoint = asking.endpoint(server)
    try:
        way = await endpoint.manners.way(request, "trailing")
    finally:
        await endpoint.close()
    _, fields = dialects.body(dialects.sent(request, way), asking.settings(server), way, None, "real")
    status, body = await asking.post(server, "/apply-template", fields)
    assert status == 200, body
    return str(body["prompt"])


async def said(server: Server, turn: str, **more: Any) -> Reply:
    """What our client makes of a reply."""
    endpoint = asking.endpoint(server, **more)
    try:
        return await endpoint.ask(asking.asked(QUESTION, prefill=turn))
    finally:
        await endpoint.close()


async def count(server: Server, text: str) -> int:
    """How many tokens a text has, its marks read as marks."""
    status, body = await asking.post(server, "/tokenize", {"content": text, "parse_special": True})
    assert status == 200
    return len(body["tokens"])


def rendered(server: Server, prefill: str | None, question: str = QUESTION) -> str:
    """Our own rendering; the server leaves its first mark out of a prompt, and puts it there itself."""
    template = Template(server.folder.read_text(), "tiny", {"bos_token": ""})
    return template.render([Message("user", question)], prefill=prefill).text


@checks("started by `launch`; says `owned_by: llamacpp`, so that `auto` is the dialect `trailing`")
async def test_launch(server: Server, note: Note) -> None:
    endpoint = asking.endpoint(server)
    try:
        assert await probe.detect(endpoint, "real") == "trailing"
    finally:
        await endpoint.close()
    note(f"ready after {server.seconds:.1f} s")


@checks("`trailing`: the prompt that its template makes equals lpt.chat's rendering; token counts agree")
@pytest.mark.parametrize("prefill", [THOUGHT, "The cup is re", "<think>\n  两 é 🫖\n\nHmm,", "<think>"])
async def test_trailing(server: Server, prefill: str) -> None:
    words = rendered(server, prefill)
    assert await applied(server, prefill) == words
    reply = await said(server, prefill)
    assert reply.usage.prompt_tokens == 1 + await count(server, words)  # one for its own mark


@checks("it says the prefix again before the continuation; our client takes it away, however short it is")
@pytest.mark.parametrize("prefill", [THOUGHT, "I see", "Well, first", "I", "<think>"])
async def test_echo(server: Server, prefill: str) -> None:
    request = asking.asked(QUESTION, prefill=prefill)
    path, fields = dialects.body(request, asking.settings(server), Way("trailing"), None, "real")
    _, body = await asking.post(server, f"/v1{path}", fields)
    raw = body["choices"][0]["message"]["content"]
    assert raw.startswith(prefill)
    assert (await said(server, prefill)).choices[0].text == raw.removeprefix(prefill) != ""


@checks(
    "templates that open the thought, or that know of thoughts (as Qwen3's and R1's): sent in the form that its "
    "/apply-template renders as lpt.chat does; `<think>` comes once, no thought is closed before it is gone on with"
)
@pytest.mark.parametrize("name", [name for name in TEMPLATES if name != "plain"])
async def test_thoughts(serve: Serve, name: str) -> None:
    server = await serve(name)
    for prefill in (THOUGHT, "<think>\nI look at it once more.\n\nThe cup stands left of the plate. Hmm,"):
        prompt = await applied(server, prefill)
        assert prompt == rendered(server, prefill)
        reply = await said(server, prefill)
        assert reply.usage.prompt_tokens == 1 + await count(server, prompt)
        raw = await said(server, prefill, prefill="completions", template=str(server.folder))
        assert _words(reply) == _words(raw) != ""


def _words(reply: Reply) -> str:
    """What was said: its parser strips a thought, and half a character at the end of a reply that is cut."""
    (choice,) = reply.choices
    return f"{choice.reasoning or ''}{choice.text}".strip(" \n\ufffd")


@checks("a prefix without `<think>` where the template opens the thought: it comes from the template, once")
@pytest.mark.parametrize("name", ["opening", "thinking, opening", "deepseek-r1"])
async def test_opened_by_the_template(serve: Serve, name: str) -> None:
    server = await serve(name)
    prompt = await applied(server, THOUGHT.removeprefix("<think>\n"))
    assert re.sub(r"<think>\s*", "<think>", prompt) == re.sub(r"<think>\s*", "<think>", rendered(server, THOUGHT))


@checks("a prefix that no form of the last message comes to is refused, and what to set instead is said")
async def test_unfit(serve: Serve, note: Note) -> None:
    server = await serve("thinking")  # closes the thought before any words but a thought's
    with pytest.raises(UserError, match=r'models\.model\.prefill = "completions"') as unfit:
        await said(server, "The cup is re")
    note(str(unfit.value)[:200])
    assert _words(await said(server, "The cup is re", prefill="completions", template=str(server.folder)))


@checks("`completions`: the tokenizer's own mark does not come twice")
async def test_completions_mark(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<|begin|>"}))
    (folder / "chat_template.jinja").write_text(server.folder.read_text())
    for template in (server.folder, folder):
        reply = await said(server, THOUGHT, prefill="completions", template=str(template))
        assert reply.usage.prompt_tokens == await count(server, "<|begin|>" + rendered(server, THOUGHT))


@checks("`n` = 2 at seed s gives the two of seeds s, s+1; more than it has slots is refused, and we ask one by one")
async def test_n(server: Server) -> None:
    endpoint = asking.endpoint(server)
    try:
        pair = await endpoint.ask(asking.asked(QUESTION, n=2, seed=5, temperature=1.0))
        singles = [await endpoint.ask(asking.asked(QUESTION, seed=5 + i, temperature=1.0)) for i in range(3)]
        more = await endpoint.ask(asking.asked(QUESTION, n=3, seed=5, temperature=1.0))
    finally:
        await endpoint.close()
    assert [choice.text for choice in pair.choices] == [reply.choices[0].text for reply in singles[:2]]
    assert [choice.text for choice in more.choices] == [reply.choices[0].text for reply in singles]


@checks("structured output by response_format conforms")
async def test_schema(server: Server) -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}, "word": {"type": "string", "pattern": "^[a-z]{1,8}$"}},
        "required": ["colour", "word"],
        "additionalProperties": False,
    }
    endpoint = asking.endpoint(server)
    try:
        request = asking.asked(QUESTION, n=2, temperature=1.0, max_tokens=300, schema=schema)
        reply = await endpoint.ask(request)
    finally:
        await endpoint.close()
    for choice in reply.choices:
        found = json.loads(choice.text)
        assert found["colour"] in ("red", "blue")
        assert found["word"].islower()


@checks("the trap: it ignores `bad_words` in silence")
async def test_bad_words(server: Server) -> None:
    endpoint = asking.endpoint(server)
    try:
        plain = (await endpoint.ask(asking.asked(QUESTION))).choices[0].text
        words = tuple(plain.split())
        again = (await endpoint.ask(asking.asked(QUESTION, bad_words=words))).choices[0].text
    finally:
        await endpoint.close()
    assert plain == again


@checks("usage and cached tokens are told")
async def test_usage(server: Server) -> None:
    endpoint = asking.endpoint(server)
    request = asking.asked("Count these words. " * 30, max_tokens=5)
    try:
        await endpoint.ask(request)
        again = await endpoint.ask(request)
    finally:
        await endpoint.close()
    assert again.usage.completion_tokens == 5
    assert 0 < again.usage.cached_tokens < again.usage.prompt_tokens


@checks("`lpt doctor`: every line is true")
async def test_doctor(server: Server, tmp_path: Path, note: Note) -> None:
    found = await doctoring.examined(server, tmp_path)
    assert {what: finding.can for what, finding in found.findings.items()} == {
        "reachable": "yes",
        "name known": "yes",
        "images": "no",
        "n": "no",  # three, where it has two slots
        "samples differ": "yes",
        "prefill": "yes",
        "bad words": "no",
        "structured": "yes",
        "seeds": "yes",
        "usage": "yes",
        "cached tokens": "yes",
        "context": "yes",
    }
    props = await asking.get(server, "/props")
    assert found.context == props["default_generation_settings"]["n_ctx"] == 4096  # of 8192 for its two slots
    assert props["total_slots"] == 2
    assert not props["modalities"]["vision"]
    assert found.why("n").endswith("took 4 requests")  # three together, refused; then one by one
    whole = 1 + await count(server, rendered(server, None, quiz.TALK))  # one for its own mark
    assert re.search(rf"up to {whole - 1} tokens", found.why("cached tokens"))  # the last is always computed
    assert found.dialect == "trailing"
    assert found.opens == "no"
    note(doctoring.told(found))


@checks("`lpt doctor` on another one: four slots, each with a share of the context, and no prompt cache")
async def test_doctor_by_flags(serve: Serve, server: Server, tmp_path: Path) -> None:
    other = await serve("plain", "--parallel 4 --no-cache-prompt")
    usual, found = [await doctoring.examined(one, tmp_path) for one in (server, other)]
    props = await asking.get(other, "/props")
    assert props["total_slots"] == 4
    assert found.context == props["default_generation_settings"]["n_ctx"] == 2048
    assert found.can("n") == "yes"
    assert found.can("cached tokens") == "no"
    changed = {"n", "cached tokens", "context"}
    assert {what: finding.can for what, finding in found.findings.items() if what not in changed} == {
        what: finding.can for what, finding in usual.findings.items() if what not in changed
    }


@checks("`lpt doctor`: each template's ways; warned where the template opens the thought and the prefix does not")
@pytest.mark.parametrize("name", [name for name in TEMPLATES if name != "plain"])
async def test_doctor_on_thoughts(serve: Serve, name: str, tmp_path: Path) -> None:
    server = await serve(name)
    found = await doctoring.examined(server, tmp_path)
    raw = await doctoring.examined(server, tmp_path, prefill="completions", template=str(server.folder))
    assert found.can("prefill") == raw.can("prefill") == "yes", (found.why("prefill"), raw.why("prefill"))
    assert ("only where the turn begins with <think>" in found.why("prefill")) == (name == "thinking")
    opens = name != "thinking"
    assert found.opens == raw.opens == ("yes" if opens else "no")
    assert len(doctoring.warned(server, found, "")) == opens
    assert not doctoring.warned(server, found, "<think>\n")
