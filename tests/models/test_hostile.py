"""Servers that lie, break off, mix things up and never end: the outcome of each fault that can be dialled."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from lpt.errors import BadReply, Denied, ModelError, Unavailable
from lpt.models.anew import begun_anew
from lpt.models.base import Choice
from lpt.serving.dials import FAULTS
from lpt.serving.protocol import Ask, Said
from tests.models.conftest import ask, choice, endpoint, good, scripted, seeds, simulated, texts
from tests.models.test_retries import TRANSIENT
from tests.serving.helpers import says

EXPIRED = Path(__file__).parents[1] / "serving" / "files" / "expired.pem"

AGAIN = {
    **TRANSIENT,
    "silent": "timeout",
    "stall": "timeout",
    "huge": "oversized",
    "ignore-prefill": "prefill-ignored",
    "stranger": "stranger",
    "mixed-up": "mixed-up",
}
"""Asked again, and counted as this."""
TOPPED_UP = {"fewer-choices", "ignore-n"}
"""What came is kept; the rest is asked for."""
AS_SAID = {"slow", "mislabelled", "null-content", "content-filter", "length"}
"""A reply like others: whether it is of use is the stage's to say."""
PREFILL = "<think>\nThe square is red, or so it seems to me at first sight, and it is small. Wait,"


def thinks(ask: Ask, seed: int) -> Said:
    """Continue a turn, or begin one with a thought."""
    return Said(f" so {seed}." if ask.prefill else f"<think>\nThe square is blue. {seed}")


def test_every_fault_has_an_outcome():
    assert set(AGAIN) | TOPPED_UP | AS_SAID == set(FAULTS)


# A stranger is known by its name once the server has said its own: see test_retries.
@pytest.mark.parametrize("fault", sorted(set(AGAIN) - {"stranger"}))
async def test_what_is_no_reply_of_ours_is_asked_for_again_and_counted(fault):
    settings: dict[str, Any] = {"silence": 0.05} if fault in ("silent", "stall") else {}
    async with (
        simulated(
            thinks,
            faults={fault: 1.0},
            max_faults_per_request=1,
            echo_request_id=True,
            huge_bytes=100 << 20,
        ) as url,
        endpoint(url, prefill="continue", **settings) as model,
    ):
        replies = [await model.ask(ask(text, prefill=PREFILL)) for text in ("one", "two", "three")]
        assert [texts(reply) for reply in replies] == [[" so 7."]] * 3
        assert not model.stats.failures
    # The first one has nobody to be mixed up with.
    assert dict(model.stats.retries) == {AGAIN[fault]: 2 if fault == "mixed-up" else 3}


@pytest.mark.parametrize(
    ("fault", "said", "reason"),
    [
        ("slow", "The square is red.", "stop"),
        ("mislabelled", "The square is red.", "stop"),
        ("null-content", "", "stop"),
        ("content-filter", "", "content_filter"),
        ("length", "The squar", "length"),
    ],
)
async def test_what_is_a_reply_is_taken_as_it_is_said(fault, said, reason):
    async with (
        simulated(says("The square is red."), faults={fault: 1.0}, slow_seconds=0.0) as url,
        endpoint(url) as model,
    ):
        (only,) = (await model.ask(ask())).choices
        assert (only.text, only.finish_reason) == (said, reason)
        assert model.stats.requests == 1


ASK = """
import asyncio, sys
from lpt.errors import ModelError
from tests.models.conftest import ask, endpoint

async def main():
    async with endpoint(sys.argv[1]) as model:
        try:
            await model.ask(ask())
        except ModelError as error:
            print(type(error).__name__, error.kind, error)

asyncio.run(main())
"""


async def test_an_expired_certificate_stops_everything_and_says_so():
    # Whom to trust is read when Python starts, so that this one is expired and nothing else takes another process.
    async with simulated(certificate=str(EXPIRED)) as url:
        assert url.startswith("https://")
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", ASK, url),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "SSL_CERT_FILE": str(EXPIRED)},
        )
        told, _ = await child.communicate()
    assert told.startswith(b"Denied tls models.one (m at https://")
    assert b"certificate has expired" in told


async def test_a_redirect_is_never_followed():
    async with simulated(faults={"redirect": 1.0}) as url, endpoint(url, attempts=2) as model:
        with pytest.raises(Denied, match="never followed"):
            await model.ask(ask())
        assert await model.get("/../sim/stats") is not None
        stats = await model.get("/../sim/stats")
        assert b'"redirects_followed":0' in (stats or b"")


# Somebody else's reply.


async def test_the_id_of_another_request_is_told_only_where_ids_come_back():
    async with (
        simulated(faults={"mixed-up": 1.0}, max_faults_per_request=1) as url,
        endpoint(url) as model,
    ):
        await model.ask(ask("one"))
        (mixed,) = texts(await model.ask(ask("two")))
        assert '"one"' in mixed, "without ids it cannot be known"
        assert not model.stats.retries
    own_ids = good()
    own_ids.headers["X-Request-Id"] = "req-1"
    async with scripted(own_ids) as server, endpoint(server.url) as model:
        assert texts(await model.ask(ask())) == ["fine"], "a server's own ids say nothing"
        assert len(server.bodies) == 1


# A prefill that is ignored.


@pytest.mark.parametrize(
    ("said", "anew"),
    [
        ("<think>\nThe square is blue.", True),
        ("\n<think>Something else", True),
        ("The square is red, or so it seems to me at first sight, and large.", False),
        (PREFILL + " it is blue.", False),
        (" it is blue.", False),
        ("The square is red.", False),
        ("</think> <answer>(A)</answer>", False),
        ("", False),
    ],
)
def test_a_reply_that_begins_anew_is_known_by_its_beginning(said, anew):
    assert begun_anew(Choice(text=said), PREFILL) == anew
    assert begun_anew(Choice(text="", reasoning=said), PREFILL) == anew


def test_a_turn_that_has_opened_no_thought_may_be_gone_on_with_by_one():
    assert not begun_anew(Choice(text="<think> I see"), "<think>"), "an echo"
    assert not begun_anew(Choice(text="<think> I see"), "Let me look.")


async def test_one_choice_that_begins_anew_is_asked_for_again_with_its_own_seed():
    answers = [good(choice(" on."), choice("<think>\nno", 1), choice(" on.", 2)), good(choice(" and on."))]
    async with scripted(*answers) as server, endpoint(server.url, prefill="continue") as model:
        assert texts(await model.ask(ask(n=3, prefill=PREFILL))) == [" on.", " and on.", " on."]
    assert [(body["seed"], body.get("n", 1)) for body in server.bodies] == [(7, 3), (8, 1)]


async def test_a_server_that_never_continues_a_turn_stops_the_run_with_what_to_do():
    async with (
        simulated(thinks, prefill="ignored") as url,
        endpoint(url, prefill="continue", attempts=3) as model,
    ):
        kinds = []
        for i in range(3):
            with pytest.raises(ModelError) as caught:
                await model.ask(ask(f"{i}", prefill=PREFILL))
            kinds.append(type(caught.value))
        assert kinds == [BadReply, BadReply, Denied]
        assert "models.one.prefill" in str(caught.value)
        assert caught.value.kind == "prefill-ignored"
        assert model.stats.requests == 8
        assert texts(await model.ask(ask())) != [], "what continues nothing goes on"


async def test_one_that_does_it_at_times_never_stops_the_run():
    fine, anew = good(choice(" on.")), good(choice("<think>\nno"))
    async with (
        scripted(fine, *[anew] * 20) as server,
        endpoint(server.url, prefill="continue", attempts=20) as model,
    ):
        await model.ask(ask(prefill=PREFILL))
        with pytest.raises(BadReply, match="began anew"):
            await model.ask(ask(prefill=PREFILL))


async def test_asked_in_words_a_server_may_begin_as_it_likes():
    async with scripted(good(choice("<think>\nno"))) as server, endpoint(server.url, prefill="instructed") as model:
        assert texts(await model.ask(ask(prefill=PREFILL))) == ["<think>\nno"]


# The limit on silence.


async def test_a_living_server_that_writes_long_is_waited_for():
    async with simulated(latency=0.5) as url, endpoint(url, silence=0.1) as model:
        assert seeds(await model.ask(ask())) == [7], "it says which models it has, and the reply comes"
        assert not model.stats.retries


async def test_a_server_that_says_nothing_at_all_is_not_waited_for():
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(deaf, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        async with endpoint(f"http://{host}:{port}/v1", silence=0.5, attempts=1) as model:
            with pytest.raises(Unavailable, match=r"models\.one\.silence") as caught:
                # Long before a server that is there would be given up.
                await asyncio.wait_for(model.ask(ask()), 5)
    assert caught.value.kind == "timeout"
    assert model.stats.in_flight == 0


async def test_a_request_that_is_cancelled_while_it_is_waited_for_is_cancelled():
    async with simulated(faults={"stall": 1.0}) as url, endpoint(url, silence=30) as model:
        task = asyncio.create_task(model.ask(ask()))
        while not model.stats.in_flight:  # noqa: ASYNC110 - counts do not announce themselves
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert model.replicas.gate.in_flight == 0
