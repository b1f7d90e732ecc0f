"""What a small prefix cache of a real vLLM finds of what an endless one would: one whole run, by its token ids."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import asking
from conftest import Server, serving, vllm_command
from lpt.look.spending import opened, spending
from lpt.serving.prefix_cache import PrefixCache
from recording import Endless, witnessed
from test_vllm_run import ANSWER, GUIDED, RECIPE, run_once

pytestmark = pytest.mark.tool("vllm")
checks = pytest.mark.checks
Note = Callable[[str], None]

BLOCK = 32  # on a CPU it takes multiples of that
BLOCKS = 128
"""Of the server's cache, which all three models share: a hundredth of the tokens of all prompts of the run."""
SHARE = 0.01
IMAGES = 54
FEW = "[a-z]{2,8}( [a-z]{2,8}){3,5}[.]"
SETTINGS = {
    **GUIDED,
    "captions.count": IMAGES,
    "think_harder.cues": ["Wait,", "Hmm,", "But look again:", "Let me see."],
    "think_harder.samples": 1,
    "think_harder.extra": {"structured_outputs": {"regex": f" {FEW} </think> {ANSWER}"}},
}


@pytest.fixture(scope="module")
async def server(
    environment: Callable[[str], Path],
    tiny: Callable[[str, str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Server]:
    """One server for all three models, with a small cache; it has room for few requests at once, too."""
    folder, logs = tiny("vllm", "vision"), tmp_path_factory.mktemp("logs")
    command = vllm_command(environment("vllm"), folder, "vision text")
    command = command.replace("--max-model-len 4096", "--max-model-len 1536")
    command = f"{command} --max-num-seqs 6 --num-gpu-blocks-override {BLOCKS}"
    async with serving(command, "vision", folder, logs) as started:
        yield started


def shuffled(prompts: list[list[object]]) -> int:
    """What a cache of that size would find of the same prompts in an order of chance."""
    cache = PrefixCache(BLOCK, BLOCKS)
    order = random.Random(0).sample(prompts, len(prompts))
    return sum(cache.admit([str(token) for token in prompt]) for prompt in order)


@checks(
    "requests one after the other: cached tokens as counted from the token ids, here and by the cache of the "
    "simulated server"
)
async def test_cached_tokens_are_known(server: Server) -> None:
    endless, simulated = Endless(BLOCK), PrefixCache(BLOCK, BLOCKS)
    head = "Counted before anything else: " + "the cup stands left of the plate. " * 8
    thought = "<think>\nOne cup, I would say, and one plate on the table. " + "Another one is behind it. " * 8
    endpoint = asking.endpoint(server)
    found = []
    try:
        for question, prefill in (
            ("How many cups?", None),
            ("How many cups?", None),
            ("How many plates are there, then?", None),
            ("How many cups?", f"{thought}Wait,"),
            ("How many cups?", f"{thought}Hmm, no."),
        ):
            request = asking.asked(head + question, prefill=prefill, max_tokens=1)
            reply = await endpoint.ask(request)
            ids = await asking.prompt_ids(server, request, "continue")  # itself a request, of the same prompt
            found.append((reply.usage.cached_tokens, endless.held(ids), simulated.admit([str(i) for i in ids])))
            endless.keep(ids)
    finally:
        await endpoint.close()
    assert all(told == held == sim for told, held, sim in found), found
    assert found[0][0] == 0
    assert found[4][0] > found[3][0] > 0  # of the thought, too, as soon as it has been there once


@checks(
    "a whole run of three models on one server, whose prefix cache holds 1 % of the run's prompt tokens: at least "
    "90 % of what an endless cache would have held, by the token ids of the very requests"
)
async def test_small_cache(server: Server, tmp_path: Path, note: Note) -> None:
    (pad,) = await asking.token_ids(server, "<|image_pad|>")
    names = ("prefix_cache_queries_total", "prefix_cache_hits_total", "num_preemptions_total")
    before = await asking.counted(server, *names)
    recipe = tmp_path / "recipe.toml"
    async with witnessed(server.url, BLOCK, pad) as witness:
        recipe.write_text(RECIPE.format(text=witness.url, vision=witness.url), encoding="utf-8")
        run, _ = await asyncio.to_thread(run_once, recipe, tmp_path / "run", SETTINGS)
    after = await asking.counted(server, *names)
    asked, hits, preempted = (late - early for early, late in zip(before, after, strict=True))
    tokens = sum(map(len, witness.prompts))
    share, ratio = BLOCK * BLOCKS / tokens, hits / witness.could
    by_chance = shuffled(witness.prompts) / witness.could
    note(
        f"{len(witness.prompts)} prompts of {tokens:,} tokens, a cache of {BLOCK * BLOCKS:,} ({share:.2%}): "
        f"{hits:,} tokens found of {witness.could:,}, {ratio:.1%} (in an order of chance "
        f"{by_chance:.1%}); {preempted} requests preempted"
    )
    assert asked == tokens  # the witness has seen all, and counted as the server does
    with opened(run) as ledger:
        rows = spending(run, ledger)
    assert sum(int(row["cached_tokens"]) for row in rows) == witness.told
    assert share <= SHARE
    assert ratio >= 0.9
    assert by_chance < 0.9, "any order would do: this shows nothing"
