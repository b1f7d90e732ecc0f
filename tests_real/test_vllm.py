"""A real vLLM on the CPU, through our own launch, dialects and client: what it does is shown, not believed."""

import asyncio
import io
import json
import re
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import msgspec
import psutil
import pytest
from PIL import Image as Picture

import asking
from conftest import Server
from lpt import world
from lpt.chat import Template
from lpt.errors import Refused
from lpt.models import dialects, probe
from lpt.models.base import Image, Message
from lpt.models.dialects import Dialect, Way
from lpt.models.launch import Launched
from lpt.synthesis import ask as stage_ask

pytestmark = pytest.mark.tool("vllm")
checks = pytest.mark.checks
Note = Callable[[str], None]

PREFILLS = {
    "a thought and a cue": "<think>\nThe cup stands left of the plate.\nWait,",
    "joined by a space": "<think>\nThe cup is red. Hmm,",
    "broken off in a word": "<think>\nThe cup is re",
    "other scripts": "<think>\n杯子是红色的。 Ещё раз: 🫖 é\nWait,",
    "white space within": "<think>\n\n  two  spaces\n\tand a tab\n\nWait,",
    "a tag alone": "<think>",
}
QUESTION = "What colour is the cup?\n(A) red\n(B) blue\n(C) green\n(D) white"


def picture(number: int, size: tuple[int, int] = (168, 112)) -> Image:
    """A scene as it is sent."""
    scene, _ = list(world.scenes(number + 1, 0, "rich"))[number]
    out = io.BytesIO()
    Picture.open(io.BytesIO(world.png(scene))).convert("RGB").resize(size).save(out, "JPEG", quality=92)
    return Image(key=f"scene {number}", data=out.getvalue(), width=size[0], height=size[1])


# Launch.


@checks("started by `launch`, found healthy; says `owned_by: vllm`, so that `auto` is the dialect `continue`")
async def test_launch(text_server: Server, note: Note) -> None:
    endpoint = asking.endpoint(text_server)
    try:
        assert await probe.detect(endpoint, "real") == "continue"
    finally:
        await endpoint.close()
    note(f"ready after {text_server.seconds:.0f} s")


@checks("stopped with the run: neither the server nor its engine processes stay behind")
async def test_stop(text_server: Server, note: Note, tmp_path: Path) -> None:
    command = text_server.launched.command
    server = Launched(command, tmp_path / "log", timeout=600)
    await server.url()
    assert server._keeper
    family = psutil.Process(server._keeper.pid).children(recursive=True)
    memory = sum(process.memory_info().rss for process in family) / 1e9
    assert len(family) > 1
    await server.stop()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    note(f"{len(family)} processes, {memory:.1f} GB")


# Continuing a turn.


@checks("`continue`: prompt token ids equal those of /v1/completions with the prefix rendered by lpt.chat")
@pytest.mark.parametrize("name", PREFILLS)
async def test_continue_is_the_raw_prompt(text_server: Server, name: str) -> None:
    request = asking.asked("You look closely.\n\n" + QUESTION, prefill=PREFILLS[name])
    chat = await asking.prompt_ids(text_server, request, "continue")
    raw = await asking.prompt_ids(text_server, request, "completions")
    assert chat == raw, (await asking.decoded(text_server, chat), await asking.decoded(text_server, raw))
    assert (await asking.decoded(text_server, chat)).endswith(PREFILLS[name])


@checks(
    "the trap: a prefix without `<think>` where the generation prompt opens it. `continue` leaves the tag out, "
    "`completions` has it"
)
async def test_the_tag_is_the_prefix_s_own(text_server: Server) -> None:
    request = asking.asked(QUESTION, prefill="The cup is red. Alternatively,")
    chat = await asking.prompt_ids(text_server, request, "continue")
    raw = await asking.prompt_ids(text_server, request, "completions")
    assert (await asking.decoded(text_server, chat)).endswith("assistant\nThe cup is red. Alternatively,")
    assert (await asking.decoded(text_server, raw)).endswith("assistant\n<think>\nThe cup is red. Alternatively,")


@checks("`continue` and `completions` say the same at temperature 0; the prefix is not said again")
async def test_continue_says_the_same(text_server: Server) -> None:
    request = asking.asked(QUESTION, prefill=PREFILLS["a thought and a cue"], max_tokens=32)
    said = []
    for more in ({"prefill": "continue"}, {"prefill": "completions", "template": str(text_server.folder)}):
        endpoint = asking.endpoint(text_server, **more)
        try:
            said.append((await endpoint.ask(request)).choices[0].joined())
        finally:
            await endpoint.close()
    assert said[0] == said[1] != ""
    assert "Wait," not in said[0][:10]


@checks("`continue` after an earlier thought: history as the template makes it, the open turn to the letter")
async def test_continue_after_history(text_server: Server) -> None:
    request = asking.asked(QUESTION, "<think>\nred\n</think>\n(A)", "Sure?", prefill="<think>\nI look again.\nHmm,")
    chat = await asking.prompt_ids(text_server, request, "continue")
    assert chat == await asking.prompt_ids(text_server, request, "completions")
    words = await asking.decoded(text_server, chat)
    assert "red\n</think>" not in words
    assert words.endswith("I look again.\nHmm,")


@checks("`trailing` on vLLM: the turn is closed and another opened, which is no continuation (hence not chosen)")
async def test_trailing_closes_the_turn(text_server: Server) -> None:
    request = asking.asked(QUESTION, prefill="<think>\nThe cup is red.\nWait,")
    ids = await asking.prompt_ids(text_server, request, "trailing")
    assert ids != await asking.prompt_ids(text_server, request, "continue")
    assert (await asking.decoded(text_server, ids)).endswith("<|im_end|>\n<|im_start|>assistant\n<think>\n")


@checks("`prefix` on vLLM: the mark is ignored without a word, the turn closed")
async def test_prefix_is_ignored(text_server: Server) -> None:
    request = asking.asked(QUESTION, prefill="<think>\nThe cup is red.\nWait,")
    ways: tuple[Dialect, ...] = ("prefix", "trailing")
    one, other = [await asking.prompt_ids(text_server, request, dialect) for dialect in ways]
    assert one == other


@checks("`instructed`: a fresh assistant turn, the words so far in the user's")
async def test_instructed(text_server: Server) -> None:
    request = asking.asked(QUESTION, prefill="<think>\nThe cup is red.\nWait,")
    words = await asking.decoded(text_server, await asking.prompt_ids(text_server, request, "instructed"))
    assert words.endswith("<|im_start|>assistant\n<think>\n")
    assert words.count("The cup is red.\nWait,") == 1


@checks("a prefix with </think> in it, under a template that cuts history there, is refused and not bent")
async def test_closed_thought_is_refused(text_server: Server, note: Note) -> None:
    endpoint = asking.endpoint(text_server, prefill="continue")
    try:
        with pytest.raises(Refused) as refused:
            await endpoint.ask(asking.asked(QUESTION, prefill="<think>\nred\n</think>\nThe answer is"))
    finally:
        await endpoint.close()
    note(str(refused.value)[-160:])


@checks("no prefill: the generation prompt, as lpt.chat renders it")
async def test_no_prefill(text_server: Server) -> None:
    request = asking.asked(QUESTION)
    ids = await asking.prompt_ids(text_server, request, "continue")
    rendered = Template.load(str(text_server.folder)).render(request.messages).text
    assert ids == await asking.token_ids(text_server, rendered)


# Images.


async def _ids_without_repeats(server: Server, ids: list[int]) -> tuple[list[int], int]:
    """Token ids with the places of an image as one, and how many those are."""
    (pad,) = await asking.token_ids(server, "<|image_pad|>")
    short = [token for token, run in groupby(ids) for token in ([token] if token == pad else run)]
    return short, sum(token == pad for token in ids)


@checks("an image before the text, and a prefilled `<think>` behind it: token ids equal lpt.chat's rendering")
@pytest.mark.parametrize("prefill", [None, "<think>", "<think>\nI see a"])
async def test_image_prompt(vision_server: Server, prefill: str | None, note: Note) -> None:
    request = asking.asked(QUESTION, images=(picture(0),), prefill=prefill)
    ids = await asking.prompt_ids(vision_server, request, "continue")
    short, places = await _ids_without_repeats(vision_server, ids)
    rendered = Template.load(str(vision_server.folder)).render(request.messages, prefill=prefill).text
    assert short == await asking.token_ids(vision_server, rendered), await asking.decoded(vision_server, short)
    assert places == (168 // 28) * (112 // 28)
    note(f"168x112 px: {places} tokens")


@checks(
    "the model sees the image: the first token's likelihood is the same for the same picture, another for another"
)
async def test_image_matters(vision_server: Server) -> None:
    seen = []
    for number in (0, 0, 1):
        request = asking.asked(QUESTION, images=(picture(number),))
        path, fields = dialects.body(request, asking.settings(vision_server), Way("continue"), None, "real")
        _, body = await asking.post(vision_server, f"/v1{path}", {**fields, "logprobs": True, "max_tokens": 1})
        seen.append(body["choices"][0]["logprobs"]["content"][0]["logprob"])
    assert seen[0] == pytest.approx(seen[1], abs=1e-4)
    assert seen[0] != pytest.approx(seen[2], abs=1e-4)


# Samples.


@checks("`n` = 3 at seed s gives the three of seeds s, s+1, s+2")
async def test_n_is_consecutive_seeds(text_server: Server) -> None:
    endpoint = asking.endpoint(text_server)
    try:
        whole = await endpoint.ask(asking.asked(QUESTION, n=3, seed=1234, temperature=1.0, max_tokens=24))
        single = [
            await endpoint.ask(asking.asked(QUESTION, seed=1234 + i, temperature=1.0, max_tokens=24))
            for i in range(3)
        ]
    finally:
        await endpoint.close()
    said = [choice.text for choice in whole.choices]
    assert len(set(said)) == 3
    assert said == [reply.choices[0].text for reply in single]


@checks("the same seed says the same again, also in company; another seed says something else")
async def test_seed(text_server: Server) -> None:
    endpoint = asking.endpoint(text_server)
    one = asking.asked(QUESTION, seed=99, temperature=1.0, max_tokens=24)
    others = [asking.asked(f"{i}. {QUESTION}", seed=i, temperature=1.0, max_tokens=24) for i in range(7)]
    try:
        alone = await endpoint.ask(one)
        together = (await asyncio.gather(endpoint.ask(one), *map(endpoint.ask, others)))[0]
        another = await endpoint.ask(asking.asked(QUESTION, seed=100, temperature=1.0, max_tokens=24))
    finally:
        await endpoint.close()
    assert alone.choices[0].text == together.choices[0].text != another.choices[0].text


@checks("`n` = 2 at temperature 0 is refused; our client then asks one by one")
async def test_n_without_temperature(text_server: Server) -> None:
    request = asking.asked(QUESTION, n=2)
    path, fields = dialects.body(request, asking.settings(text_server), Way("continue"), None, "real")
    status, _ = await asking.post(text_server, f"/v1{path}", fields)
    endpoint = asking.endpoint(text_server)
    try:
        reply = await endpoint.ask(request)
    finally:
        await endpoint.close()
    assert status == 400
    assert len(reply.choices) == 2
    assert reply.choices[0].text == reply.choices[1].text


@checks(
    "`bad_words`: never said again in the tokens of their bare spelling, nor with a space before, where that has "
    "as many tokens; where it has not (such as one token for two), vLLM bans the bare spelling alone"
)
async def test_bad_words(text_server: Server, note: Note) -> None:
    banned: dict[str, bool] = {}
    kept_saying: list[str] = []
    for _ in range(10):
        request = asking.asked(
            QUESTION, prefill=PREFILLS["joined by a space"], max_tokens=24, bad_words=tuple(banned)
        )
        path, fields = dialects.body(request, asking.settings(text_server), Way("continue"), None, "real")
        status, body = await asking.post(text_server, f"/v1{path}", {**fields, "return_token_ids": True})
        assert status == 200, body
        said, text = body["choices"][0]["token_ids"], body["choices"][0]["message"]["content"]
        for word, both in banned.items():
            assert not _within(await asking.token_ids(text_server, word), said), (word, text)
            spaced = _within(await asking.token_ids(text_server, f" {word}"), said)
            assert not (both and spaced), (word, text)
            if spaced:
                kept_saying.append(word)
        new = next(word for word in re.findall(r"[A-Za-z]{2,}", text) if word not in banned)
        bare, spaced_ids = [await asking.token_ids(text_server, f"{space}{new}") for space in ("", " ")]
        banned[new] = len(bare) == len(spaced_ids) and bare[0] != spaced_ids[0]
    assert any(banned.values())
    note(f"{sum(banned.values())} of {len(banned)} words banned both ways; still said: {sorted(set(kept_saying))}")


def _within(short: list[int], long: list[int]) -> bool:
    return any(long[i : i + len(short)] == short for i in range(len(long)))


@checks("structured output: every finished reply of a random model is JSON and conforms")
async def test_response_format(text_server: Server, note: Note) -> None:
    schema = {
        "type": "object",
        "properties": {
            "colour": {"type": "string", "enum": ["red", "green", "blue"]},
            "count": {"type": "integer", "minimum": 0, "maximum": 99},
            "words": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]{1,8}$"}, "maxItems": 3},
        },
        "required": ["colour", "count", "words"],
        "additionalProperties": False,
    }
    endpoint = asking.endpoint(text_server)
    try:
        reply = await endpoint.ask(
            asking.asked("Say something.", n=16, temperature=1.0, max_tokens=400, schema=schema)
        )
    finally:
        await endpoint.close()
    finished = [choice.joined() for choice in reply.choices if choice.finish_reason == "stop"]
    for text in finished:
        found = json.loads(text.removeprefix("\n</think>\n"))
        assert set(found) == {"colour", "count", "words"}
        assert found["colour"] in ("red", "green", "blue")
        assert 0 <= found["count"] <= 99
        assert len(found["words"]) <= 3
    assert len(finished) >= 12
    note(f"{len(finished)} of 16 finished within 400 tokens")


@checks("structured output by Ask's own schema: what is read is what it said; cut replies are told from others")
async def test_ask_schema(text_server: Server, note: Note) -> None:
    endpoint = asking.endpoint(text_server)
    request = asking.asked("Ask.", n=8, temperature=1.0, max_tokens=3000, schema=stage_ask._SCHEMA)
    try:
        reply = await endpoint.ask(request)
    finally:
        await endpoint.close()
    finished = [choice for choice in reply.choices if choice.finish_reason == "stop"]
    questions = 0
    for choice in finished:
        found = json.loads(choice.joined(), strict=False)
        assert set(found) == {"questions"}
        assert all(len(question["options"]) == 4 for question in found["questions"])
        assert len(list(stage_ask.read(choice.joined()))) == len(found["questions"])
        questions += len(found["questions"])
    note(f"{len(finished)} of 8 finished within 3,000 tokens, with {questions} questions")


# Counting.


@checks("usage: prompt and completion tokens as counted from the ids; cached tokens the second time")
async def test_usage(text_server: Server, note: Note) -> None:
    request = asking.asked("Count these words. " * 60, max_tokens=5, n=2, temperature=1.0)
    ids = await asking.prompt_ids(text_server, asking.asked("Count these words. " * 60), "continue")
    endpoint = asking.endpoint(text_server)
    try:
        first = await endpoint.ask(asking.asked("Other words come first. " + "Count these words. " * 60))
        again = await endpoint.ask(request)
    finally:
        await endpoint.close()
    assert first.usage.cached_tokens == 0
    assert again.usage.prompt_tokens == len(ids)
    assert again.usage.completion_tokens == 10
    assert 0 < again.usage.cached_tokens < len(ids)
    note(f"{again.usage.cached_tokens} of {len(ids)} prompt tokens cached, in blocks of 32")


@checks("the prefix cache holds what cues share: thought the same, cue another")
async def test_cues_share_a_prefix(text_server: Server, note: Note) -> None:
    endpoint = asking.endpoint(text_server)
    thought = "<think>\n" + "The cup stands left of the plate and the spoon lies on it. " * 8
    try:
        replies = [
            await endpoint.ask(asking.asked("A caption. " * 30 + QUESTION, prefill=f"{thought}{cue}"))
            for cue in ("Wait,", "Hmm,", "Alternatively,")
        ]
    finally:
        await endpoint.close()
    cached = [reply.usage.cached_tokens for reply in replies]
    total = replies[1].usage.prompt_tokens
    assert cached[0] == 0
    assert min(cached[1:]) > 0.8 * total
    note(f"{cached[1]} of {total} prompt tokens cached at the second cue")


@checks("a prompt longer than the context is refused at once, with the server's own words")
async def test_too_long(text_server: Server, note: Note) -> None:
    endpoint = asking.endpoint(text_server)
    try:
        with pytest.raises(Refused) as refused:
            await endpoint.ask(asking.asked("word " * 6000))
    finally:
        await endpoint.close()
    assert endpoint.stats.requests == 1
    note(" ".join(str(refused.value).split())[-200:])


@checks("a message with a system turn")
async def test_system_turn(vision_server: Server) -> None:
    request = asking.asked(QUESTION)
    with_system = msgspec.structs.replace(request, messages=(Message("system", "Look."), *request.messages))
    ids = await asking.prompt_ids(vision_server, with_system, "continue")
    rendered = Template.load(str(vision_server.folder)).render(with_system.messages).text
    assert await asking.decoded(vision_server, ids) == rendered
