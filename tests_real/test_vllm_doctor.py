"""What `lpt doctor` says of a real vLLM, each line of its table held against what the server is known to do."""

from collections.abc import Callable
from pathlib import Path

import pytest

import asking
import doctoring
from conftest import Server, serving, vllm_command
from lpt.models import quiz
from lpt.models.checkup import Checkup
from lpt.models.dialects import Dialect

pytestmark = pytest.mark.tool("vllm")
checks = pytest.mark.checks
Note = Callable[[str], None]


@pytest.fixture(scope="module")
async def text(text_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Checkup:
    """What it says of the text model, whose template is of R1's kind."""
    return await doctoring.examined(text_server, tmp_path_factory.mktemp("doctor"))


@pytest.fixture(scope="module")
async def vision(vision_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Checkup:
    """What it says of the vision model."""
    return await doctoring.examined(vision_server, tmp_path_factory.mktemp("doctor"))


@checks("`lpt doctor`, a text model: every line is true")
async def test_text(text: Checkup, note: Note) -> None:
    assert {what: finding.can for what, finding in text.findings.items()} == {
        "reachable": "yes",
        "name known": "yes",
        "images": "no",
        "n": "yes",
        "samples differ": "yes",
        "prefill": "yes",
        "bad words": "yes",
        "structured": "yes",
        "seeds": "yes",
        "usage": "yes",
        "cached tokens": "yes",
        "context": "yes",
    }
    assert text.context == 4096
    assert text.dialect == "continue"
    note(doctoring.told(text))


@checks("`lpt doctor`, a vision model: every line is true")
async def test_vision(vision: Checkup, note: Note) -> None:
    assert {what for what, finding in vision.findings.items() if finding.can != "yes"} <= {"bad words"}
    # This vocabulary has words that are one token behind a space, and two without: those vLLM lets through.
    assert vision.can("bad words") == "yes" or "came back" in vision.why("bad words")
    assert vision.context == 4096
    assert vision.opens == "no"
    note(doctoring.told(vision))


@checks(
    "`lpt doctor`: its figures are those of the server's own list, of its flags and of token ids: context, tokens "
    "of a picture, cached tokens"
)
@pytest.mark.parametrize("name", ["text", "vision"])
async def test_figures(
    name: str, text_server: Server, vision_server: Server, text: Checkup, vision: Checkup
) -> None:
    server, found = (text_server, text) if name == "text" else (vision_server, vision)
    (card,) = (await asking.get(server, "/v1/models"))["data"]
    assert card["id"] == name
    assert f"--max-model-len {found.context} " in server.launched.command
    assert found.context == card["max_model_len"]
    ids = await asking.prompt_ids(server, quiz.request(quiz.TALK), "continue")
    blocks = (len(ids) - 1) // 32  # the last token is always computed
    assert f"up to {32 * blocks} tokens" in found.why("cached tokens")
    if name == "vision":
        pad, side = await asking.token_ids(server, "<|image_pad|>"), 224 // 28
        seen = await asking.prompt_ids(
            server, quiz.request(quiz.COLOR, images=tuple(quiz.pictures()[:1])), "continue"
        )
        blind = await asking.prompt_ids(server, quiz.request(quiz.COLOR), "continue")
        assert seen.count(pad[0]) == side * side
        assert f"{len(seen) - len(blind)} tokens a picture" in found.why("images")


@checks(
    "`lpt doctor` on another one, with a short context, that keeps to itself what its prefix cache found (no "
    "`--enable-prompt-tokens-details`): the rest as before"
)
async def test_flags(
    text_server: Server, environment: Callable[[str], Path], text: Checkup, tmp_path: Path
) -> None:
    command = vllm_command(environment("vllm"), text_server.folder, "text")
    command = command.replace("--enable-prompt-tokens-details", "").replace("len 4096", "len 2048")
    async with serving(command, "text", text_server.folder, tmp_path) as server:
        found = await doctoring.examined(server, tmp_path)
        (hits,) = await asking.counted(server, "prefix_cache_hits_total")
    assert hits > 0
    assert found.can("cached tokens") == "no"
    assert found.why("cached tokens").endswith("or not told")
    assert found.context == 2048
    changed = {"cached tokens", "context"}
    assert {what: finding.can for what, finding in found.findings.items() if what not in changed} == {
        what: finding.can for what, finding in text.findings.items() if what not in changed
    }


@checks("`lpt doctor` finds a turn continued exactly where its token ids are the prompt's last")
async def test_prefill_by_ids(text_server: Server, text: Checkup, tmp_path: Path) -> None:
    request = quiz.request(quiz.COUNT, prefill=quiz.BEGUN)
    turn = await asking.token_ids(text_server, quiz.BEGUN)
    ways: tuple[Dialect, ...] = ("continue", "trailing", "prefix")
    for way in ways:
        ids = await asking.prompt_ids(text_server, request, way)
        found = await doctoring.examined(text_server, tmp_path, prefill=way)
        assert (ids[-len(turn) :] == turn) == (found.can("prefill") == "yes"), way
    assert text.dialect == "continue"


@checks("`lpt doctor`: which ways of continuing a turn are true ones, and which close it")
async def test_ways(text_server: Server, tmp_path: Path) -> None:
    for way, can in (("trailing", "no"), ("prefix", "no"), ("continue", "yes")):
        found = await doctoring.examined(text_server, tmp_path, prefill=way)
        assert found.continues[way].can == can, found.continues
        assert found.can("prefill") == can
        assert can == "yes" or 'prefill = "continue" would continue' in found.why("prefill")
    found = await doctoring.examined(text_server, tmp_path, prefill="completions", template=str(text_server.folder))
    assert found.why("prefill") == "completions: a raw prompt, rendered here"


@checks(
    "`lpt doctor` warns of `think_harder.opening` without `<think>` where the template opens the thought, by "
    "whichever way, and of nothing where it is there"
)
async def test_tag(text_server: Server, text: Checkup, vision: Checkup, tmp_path: Path, note: Note) -> None:
    raw = await doctoring.examined(text_server, tmp_path, prefill="completions", template=str(text_server.folder))
    assert text.opens == raw.opens == "yes"
    for found in (text, raw):
        assert not doctoring.warned(text_server, found, "<think>\n")
        (warning,) = doctoring.warned(text_server, found, "")
        note(warning)
    assert not doctoring.warned(text_server, vision, "")


@checks("`completions`: the tokenizer's own mark comes once (`add_special_tokens` is heeded)")
async def test_completions_mark(text_server: Server) -> None:
    request = asking.asked("What is it?", prefill="<think>\nA cup.")
    endpoint = asking.endpoint(text_server, prefill="completions", template=str(text_server.folder))
    try:
        reply = await endpoint.ask(request)
    finally:
        await endpoint.close()
    assert reply.usage.prompt_tokens == len(await asking.prompt_ids(text_server, request, "continue"))


@checks("a prefix that `echo` makes it say again is taken off, however short")
@pytest.mark.parametrize("prefill", ["I", "<think>\nA cup."])
async def test_echo(text_server: Server, prefill: str) -> None:
    request = asking.asked("What is it?", prefill=prefill)
    said = []
    for extra in ({}, {"echo": True}):
        endpoint = asking.endpoint(text_server, prefill="continue", extra=extra)
        try:
            said.append((await endpoint.ask(request)).choices[0].text)
        finally:
            await endpoint.close()
    assert said[0] == said[1] != ""
