"""The doctor tells the truth: a simulated server over real HTTP, with one capability missing at a time."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lpt.models.checkup import CAPABILITIES, Checkup
from lpt.models.doctor import examine
from lpt.needs import Need, family, needs, warnings
from lpt.recipe import Recipe
from lpt.serving.app import make_app
from lpt.serving.dials import Dials
from lpt.serving.protocol import Ask, Said
from lpt.serving.serve import running
from lpt.settings import ModelSettings
from lpt.world.roles import ROLES
from tests.conftest import small_recipe
from tests.models.conftest import bad, good, scripted
from tests.serving.helpers import says

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Change = Callable[[dict[str, Any]], str | None]


def forgets(*fields: str) -> Change:
    """A server that has never heard of some fields, and says nothing about it."""

    def change(body: dict[str, Any]) -> str | None:
        for field in fields:
            body.pop(field, None)
        return None

    return change


def refuses(field: str) -> Change:
    """A server that refuses requests which have a field."""
    return lambda body: f"unrecognized argument: {field}" if field in body else None


def drops_pictures(body: dict[str, Any]) -> str | None:
    for message in body["messages"]:
        if isinstance(message["content"], list):
            message["content"] = [part for part in message["content"] if part["type"] == "text"]
    return None


def takes_no_pictures(body: dict[str, Any]) -> str | None:
    lists = any(isinstance(message["content"], list) for message in body["messages"])
    return "this is not a multimodal model" if lists else None


def loses_the_turn(body: dict[str, Any]) -> str | None:
    body["messages"] = [message for message in body["messages"] if message["role"] != "assistant"]
    for flag in ("continue_final_message", "add_generation_prompt"):
        body.pop(flag, None)
    return None


def tells_no_usage(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != "usage"}


@contextlib.asynccontextmanager
async def server(
    change: Change | None = None,
    told: Callable[[dict[str, Any]], dict[str, Any]] = lambda body: body,
    models: dict[str, Any] | None = None,
    **dials: Any,
) -> AsyncIterator[str]:
    """The simulated server; `change` stands between it and what it is asked, `told` and what it says."""

    @web.middleware
    async def between(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "POST" and change:
            body = json.loads(await request.read())
            if refusal := change(body):
                return web.json_response({"error": {"message": refusal}}, status=400)
            request._read_bytes = json.dumps(body).encode()
        response = await handler(request)
        if request.method == "POST" and isinstance(response, web.Response) and response.status == 200:
            assert isinstance(response.body, bytes)
            return web.json_response(told(json.loads(response.body)))
        return response

    app = make_app(models or {name: make(None) for name, make in ROLES.items()}, Dials(**dials))
    app.middlewares.append(between)
    async with running(app) as url:
        yield url


async def look_at(url: str, name: str = "student", **settings: Any) -> Checkup:
    found = await examine({name: ModelSettings(model=name, url=url, **settings)}, Path("/nowhere"))
    return found[name]


def lacks(checkup: Checkup) -> dict[str, str]:
    return {what: finding.can for what, finding in checkup.findings.items() if finding.can != "yes"}


AT_REST = {"structured": "no", "context": "unsure"}
"""What the simulated student lacks: it answers questions, and holds to no schema."""


async def test_a_whole_server_can_do_everything():
    async with server(max_model_len=8000) as url:
        asker, student, reasoner = [await look_at(url, name) for name in ("asker", "student", "reasoner")]
    assert tuple(student.findings) == CAPABILITIES
    assert lacks(asker) == {"images": "unsure"}, "it is shown pictures and never looks"
    assert lacks(student) == {"structured": "no"}
    assert lacks(reasoner) == {"images": "unsure", "structured": "no"}
    assert student.context == 8000
    assert reasoner.dialect == "continue"


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (forgets("bad_words"), {"bad words": "no"}),
        (refuses("bad_words"), {"bad words": "no"}),
        (forgets("seed"), {"seeds": "no"}),
        (refuses("seed"), {"seeds": "no"}),
        (drops_pictures, {"images": "no"}),
        (takes_no_pictures, {"images": "no"}),
        (loses_the_turn, {"prefill": "no"}),
        (refuses("n"), {"n": "no"}),
    ],
)
async def test_what_a_server_forgets_or_refuses_is_told(change: Change, missing: dict[str, str]):
    async with server(change) as url:
        found = await look_at(url)
    assert lacks(found) == {**AT_REST, **missing}


async def test_a_server_that_refuses_a_temperature_is_asked_without():
    def warm(body: dict[str, Any]) -> str | None:
        return "temperature does not support 0" if body.get("temperature") == 0 else None

    async with server(warm) as url:
        found = await look_at(url)
    assert found.can("reachable") == "yes"
    assert found.can("images") == "unsure", "without a temperature of 0, other words are no sign of anything"
    assert found.can("prefill") == "yes"


async def test_a_server_that_refuses_everything_is_told_in_its_own_words():
    async with server(lambda _: "this account is closed") as url:
        found = await look_at(url)
    assert found.can("reachable") == "no"
    assert "this account is closed" in found.why("reachable")
    assert "images" not in found.findings


async def test_a_server_without_seeds_is_not_sent_any():
    async with server(refuses("seed")) as url:
        found = await look_at(url, sampling_seed=False)
    assert lacks(found) == {**AT_REST, "seeds": "unsure"}


async def test_a_schema_is_held_to_or_not():
    async with server(forgets("response_format")) as url:
        assert (await look_at(url, "asker")).can("structured") == "no"


async def test_a_reply_in_form_that_is_cut_is_one_in_form():
    spaced = says('{"surface": ' + "\n\n x" * 600)
    async with server(models={"student": spaced}) as url:
        found = await look_at(url)
    assert found.can("structured") == "yes"
    assert "it was cut" in found.why("structured")


@pytest.mark.parametrize(("takes", "can"), [(["text"], "no"), (["text", "image"], "unsure"), (None, "unsure")])
async def test_a_server_that_fails_where_others_refuse_a_picture(takes: list[str] | None, can: str):
    def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/models"):
            kind = {"architecture": {"input_modalities": takes}} if takes else {}
            return web.json_response({"data": [{"id": "student", **kind}]})
        return bad(500) if "image_url" in json.dumps(script.bodies[-1]) else good()

    async with scripted(answer) as script:
        assert (await look_at(script.url)).can("images") == can


@pytest.mark.parametrize(
    ("dials", "missing"),
    [
        ({"prefix_cache": False}, {"cached tokens": "no"}),
        ({"faults": {"ignore-n": 1.0}}, {"n": "no"}),
        ({"prefill": "ignored"}, {"prefill": "no"}),
    ],
)
async def test_what_a_dial_takes_away_is_told(dials: dict[str, Any], missing: dict[str, str]):
    async with server(**dials) as url:
        assert lacks(await look_at(url)) == {**AT_REST, **missing}


async def test_cached_tokens_are_those_of_one_prompt():
    """However many requests three choices took."""
    told = []
    faults: dict[str, float]
    for faults in ({}, {"ignore-n": 1.0}):
        async with server(faults=faults) as url:
            told.append((await look_at(url)).why("cached tokens"))
    assert told[0] == told[1] != ""


async def test_a_server_that_counts_no_tokens_leaves_open_what_only_they_could_tell():
    async with server(told=tells_no_usage) as url:
        found = await look_at(url)
    unsure = {"images": "unsure", "prefill": "unsure"}
    assert lacks(found) == {**AT_REST, **unsure, "usage": "no", "cached tokens": "no"}


async def test_a_model_that_says_the_same_whatever_its_seed():
    async with server(models={"student": says("one, two, three")}) as url:
        found = await look_at(url)
    assert found.can("samples differ") == "no"
    assert "another seed brought the same words" in found.why("seeds")


async def test_a_model_that_names_colors_sees():
    def eyes(ask: Ask, seed: int) -> Said:
        images = [image for turn in ask.turns for image in turn.images]
        return Said(
            ("It is Red." if _pixels(images[0]).startswith(b"\xff\x00\x00") else "Blue!") if images else "What?"
        )

    async with server(models={"student": eyes}) as url:
        found = await look_at(url)
    assert found.why("images") == "it named the colors of two pictures"


def _pixels(data: bytes) -> bytes:
    import io

    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        pixels: bytes = image.convert("RGB").tobytes()
        return pixels


async def test_a_model_that_says_the_rest_of_the_word_continues_without_counts():
    def counts(ask: Ask, seed: int) -> Said:
        return Said("ve, six, seven" if (ask.prefill or "").endswith("fi") else "one, two")

    async with server(told=tells_no_usage, models={"student": counts}) as url:
        assert (await look_at(url)).can("prefill") == "yes"


@pytest.mark.parametrize(
    ("honoured", "used", "can", "better"),
    [
        ("all", "continue", "yes", None),
        ("all", "trailing", "yes", None),
        ("all", "prefix", "yes", None),
        ("trailing", "continue", "yes", None),  # the same last message, so it is continued all the same
        ("prefix", "continue", "no", "prefix"),
        ("prefix", "trailing", "no", "prefix"),
        ("continue", "trailing", "no", "continue"),
        ("continue", "prefix", "no", "continue"),
        ("ignored", "continue", "no", None),
        ("ignored", "auto", "no", None),
        ("all", "instructed", "no", "continue"),
    ],
)
async def test_each_way_of_continuing_is_tried(honoured: str, used: str, can: str, better: str | None):
    async with server(prefill=honoured) as url:
        found = await look_at(url, "reasoner", prefill=used)
        recipe = small_recipe(url, f"models.reasoner.prefill={used}")
    assert found.can("prefill") == can
    assert next((way for way, seen in found.continues.items() if seen.can == "yes"), None) == (
        better or (used if can == "yes" else None)
    )
    if can == "no" and used != "instructed":
        assert "starts a new one" in found.continues["continue" if used == "auto" else used].why
        (need,) = missing_of(recipe, found)
        assert need.change == f'models.reasoner.prefill = "{better or "instructed"}"'
    else:
        assert not missing_of(recipe, found)


@pytest.mark.parametrize("template", ["chatml", "deepseek-r1"])
async def test_a_raw_prompt_is_continued(template: str):
    async with server() as url:
        found = await look_at(url, "reasoner", prefill="completions", template=template)
    assert found.findings["prefill"].why == "completions: a raw prompt, rendered here"
    assert found.dialect == "completions"


async def test_a_template_of_another_model_is_noticed(tmp_path: Path):
    odd = tmp_path / "odd.jinja"
    odd.write_text(
        "You are a helpful assistant. " * 5 + "{% for m in messages %}\n{{ m.role }}: {{ m.content }}{% endfor %}"
    )
    async with server() as url:
        found = await look_at(url, "reasoner", prefill="completions", template=str(odd))
    assert found.can("prefill") == "unsure"
    assert "see that models.reasoner.template is this model's" in found.why("prefill")


async def test_a_raw_prompt_needs_a_template():
    async with server() as url:
        found = await look_at(url, "reasoner", prefill="completions")
    assert "needs models.reasoner.template" in found.continues["completions"].why
    assert found.can("prefill") == "no"


async def test_an_unknown_server_that_starts_new_turns_is_told():
    async with server(owned_by="somebody", prefill="ignored") as url:
        found = await look_at(url, "reasoner")
    assert found.dialect is None
    assert found.can("prefill") == "no"
    assert {way.can for way in found.continues.values()} == {"no"}


async def test_a_server_that_is_not_there_is_said_once():
    found = await look_at("http://127.0.0.1:9/v1")
    assert set(found.findings) <= {"reachable", "name known", "context"}
    assert "cannot be reached" in found.why("reachable")


async def test_a_wrong_name_is_told_with_the_right_ones():
    async with server() as url:
        found = (await examine({"student": ModelSettings(model="studnet", url=url)}, Path("/nowhere")))["student"]
        recipe = small_recipe(url, "models.student.model=studnet")
    assert found.can("reachable") == "no"
    assert found.can("name known") == "no"
    (need,) = missing_of(recipe, found)
    assert need.change.startswith('models.student.model = "')


async def test_a_key_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    async with server() as url:
        found = await look_at(url, key_env="NO_SUCH_KEY")
    assert "export NO_SUCH_KEY" in found.why("reachable")


def missing_of(recipe: Recipe, *checkups: Checkup) -> list[Need]:
    return [need for need in needs(recipe, {found.name: found for found in checkups}) if need.missing]


@pytest.mark.parametrize(
    ("change", "name", "overrides", "says_"),
    [
        (forgets("response_format"), "asker", (), ["ask.structured = false"]),
        (forgets("response_format"), "asker", ("ask.structured=false",), []),
        (drops_pictures, "student", (), ["models.student.model = a model that sees"]),
        (forgets("bad_words"), "reasoner", (), []),
        (forgets("bad_words"), "reasoner", ('think_harder.bad_words=["leak"]',), ["think_harder.bad_words = []"]),
        (loses_the_turn, "student", ("think.prefill=<think>",), ['think.prefill = ""']),
        (refuses("seed"), "student", (), ["models.student.sampling_seed = false"]),
    ],
)
async def test_what_to_change_is_said_exactly(
    change: Change, name: str, overrides: tuple[str, ...], says_: list[str]
):
    async with server(change) as url:
        found = await look_at(url, name)
        recipe = small_recipe(url, *overrides)
    changes = [need.change for need in missing_of(recipe, found)]
    assert [change for change in changes if "samples" not in change] == says_


async def test_too_short_a_context_is_told_with_the_room_there_is():
    async with server(max_model_len=4096) as url:
        found = await look_at(url, "asker")
    (need,) = missing_of(small_recipe(url), found)
    assert need.change == "ask.max_tokens = 3584"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "Qwen"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "Llama"),
        ("Qwen/QwQ-32B", "Qwen"),
        ("meta-llama/Llama-3.2-11B-Vision-Instruct", "Llama"),
        ("OpenGVLab/InternVL3-8B", "InternVL"),
        ("deepseek-reasoner", "DeepSeek"),
        ("gpt-4o-mini-2024-07-18", "GPT"),
        ("student", ""),
        ("my-model", ""),
    ],
)
def test_families_go_by_names(model: str, expected: str):
    assert family(model) == expected


@pytest.mark.parametrize(
    ("student", "reasoner", "warned"),
    [
        ("Qwen2.5-VL-7B", "DeepSeek-R1-Distill-Qwen-32B", False),
        ("Qwen2.5-VL-7B", "DeepSeek-R1-Distill-Llama-70B", True),
        ("InternVL3-8B", "QwQ-32B", True),
        ("Qwen2.5-VL-7B", "mine", False),
        ("mine", "QwQ-32B", False),
    ],
)
def test_reasoner_and_student_of_two_families_are_warned_of(student: str, reasoner: str, warned: bool):
    recipe = small_recipe("http://x/v1", f'models.student.model="{student}"', f'models.reasoner.model="{reasoner}"')
    assert bool(warnings(recipe, {})) == warned
