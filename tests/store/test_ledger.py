"""What was answered is never asked again, and what was kept is never lost."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lpt.errors import RunError
from lpt.models.base import Choice, Image, Message, Reply, Request, Sampling, Usage
from lpt.settings import ModelSettings
from lpt.store import ledger as ledger_module
from lpt.store.ledger import Ledger, canonical, reply_key
from lpt.store.reading import LedgerReader
from tests.scripted import IMAGE, SETTINGS, request


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def reply(*texts: str, asked: Request, settings: ModelSettings = SETTINGS, **more: Any) -> Reply:
    body = canonical(asked, settings)
    choices = tuple(Choice(text=text, key=reply_key(body, asked.seed + i)) for i, text in enumerate(texts))
    return Reply(choices=choices, usage=Usage(10, 20, 5), attempts=2, started=1.5, seconds=0.25, **more)


async def keep(ledger: Ledger, asked: Request, *texts: str) -> list[str]:
    answered = reply(*texts, asked=asked)
    await ledger.put(asked, "m", canonical(asked, SETTINGS), answered)
    return [choice.key for choice in answered.choices]


# The key


def key(settings: ModelSettings = SETTINGS, **more: Any) -> str:
    asked = request(**more)
    return reply_key(canonical(asked, settings), asked.seed)


def other(**more: Any) -> ModelSettings:
    return msgspec.structs.replace(SETTINGS, **more)


@pytest.mark.parametrize(
    "same",
    [
        lambda: key(stage="other"),
        lambda: key(record="other"),
        lambda: key(rank=7),
        lambda: key(affinity="other"),
        lambda: key(n=5),
        lambda: key(other(url="http://elsewhere/v1")),
        lambda: key(other(url=None, launch="vllm serve m")),
        lambda: key(other(sampling_seed=False)),
        lambda: key(other(key_env="K", headers={"a": "b"}, concurrency=1, attempts=1, silence=1.0)),
        lambda: key(sampling=Sampling(temperature=0.7, top_p=None, stop=())),
    ],
)
def test_who_asks_when_and_where_does_not_matter(same: Any) -> None:
    assert same() == key()


def test_all_true_ways_of_continuing_a_turn_are_one_and_being_asked_in_words_is_another() -> None:
    ways = ("auto", "continue", "trailing", "prefix", "completions")
    assert len({key(other(prefill=way), prefill="<think>") for way in ways}) == 1
    assert key(other(prefill="instructed"), prefill="<think>") != key(prefill="<think>")
    assert key(other(prefill="instructed")) == key(), "without a prefill there is nothing to ask in words"


def test_everything_that_an_answer_may_depend_on_does() -> None:
    picture = msgspec.structs.replace(IMAGE, key="another")
    keys = [
        key(),
        key(other(model="other")),
        key(other(version="2025-02")),
        key(other(extra={"top_a": 1})),
        key(messages=(Message("user", "other"),)),
        key(messages=(Message("system", "hello"),)),
        key(messages=(Message("user", "hello", (IMAGE,)),)),
        key(messages=(Message("user", "hello", (picture,)),)),
        key(messages=(Message("user", "hello"), Message("user", "hello"))),
        key(prefill="<think>"),
        key(prefill="<think>\nHm"),
        key(schema={"type": "object"}),
        key(schema={"type": "array"}),
        key(seed=101),
        key(sampling=Sampling()),
        key(sampling=Sampling(temperature=0.8)),
        key(sampling=Sampling(temperature=0.7, top_p=0.9)),
        key(sampling=Sampling(temperature=0.7, top_k=50)),
        key(sampling=Sampling(temperature=0.7, repetition_penalty=1.05)),
        key(sampling=Sampling(temperature=0.7, max_tokens=10)),
        key(sampling=Sampling(temperature=0.7, stop=("x",))),
        key(sampling=Sampling(temperature=0.7, bad_words=("x",))),
        key(sampling=Sampling(temperature=0.7, extra={"a": 1})),
    ]
    assert len(set(keys)) == len(keys)


def test_an_image_counts_by_its_hash_not_by_its_bytes() -> None:
    again = Image(key=IMAGE.key, data=b"other bytes", media_type="image/png", width=9)
    assert key(messages=(Message("user", "hi", (again,)),)) == key(messages=(Message("user", "hi", (IMAGE,)),))


def test_the_order_in_which_fields_were_written_does_not_matter() -> None:
    assert key(other(extra={"a": 1, "b": 2})) == key(other(extra={"b": 2, "a": 1}))


def test_keys_are_the_same_on_every_machine_and_in_every_version() -> None:
    # Ledgers exist that hold them: a change makes everybody pay again.
    assert key() == "4ed24a6a85d0ff87f2d6bedfbf7f38c2"


# Keeping and finding


async def test_what_is_kept_is_found(ledger: Ledger) -> None:
    asked = request(n=2, messages=(Message("user", "look", (IMAGE,)),), prefill="<think>")
    first, second = await keep(ledger, asked, "one", "two")
    missing = reply_key(canonical(asked, SETTINGS), 999)
    found = ledger.get([second, missing, first])
    assert {k: choice.text for k, choice in found.items()} == {first: "one", second: "two"}
    assert found[first].key == first
    assert ledger.get([]) == {}


async def test_every_field_of_a_choice_comes_back(ledger: Ledger) -> None:
    asked = request(n=3)
    body = canonical(asked, SETTINGS)
    choices = (
        Choice(text="a", reasoning="because", finish_reason="length", instructed=True, key=reply_key(body, 100)),
        Choice(text="", reasoning="", key=reply_key(body, 101)),
        Choice(text="nul \x00 and 🖼 and \r\n", key=reply_key(body, 102)),
    )
    await ledger.put(asked, "m", body, Reply(choices=choices))
    found = ledger.get([choice.key for choice in choices])
    assert tuple(found[choice.key] for choice in choices) == choices


async def test_a_reply_leads_back_to_the_call_that_brought_it(ledger: Ledger) -> None:
    asked = request(n=2, messages=(Message("user", "look", (IMAGE,)),), prefill="<think>", record="the question")
    _, second = await keep(ledger, asked, "one", "two")
    found = ledger.lookup(second)
    assert found
    choice, call = found
    assert choice.text == "two"
    assert (call.stage, call.model, call.record, call.outcome) == ("think", "m", "the question", "ok")
    assert call.request["messages"] == [["user", "look", ["image-key"]]]
    assert call.request["prefill"] == "<think>"
    assert call.usage == Usage(10, 20, 5)
    assert (call.attempts, call.started, call.seconds) == (2, 1.5, 0.25)
    assert ledger.lookup("00" * 16) is None


async def test_the_first_answer_stands(ledger: Ledger) -> None:
    (kept,) = await keep(ledger, request(), "first")
    await keep(ledger, request(), "second")
    assert ledger.get([kept])[kept].text == "first"


async def test_failures_are_counted_and_answer_nothing(ledger: Ledger) -> None:
    asked = request(n=3)
    body = canonical(asked, SETTINGS)
    await ledger.put_failure(asked, "m", body, "timeout", "no byte in 300 s")
    await ledger.put_failure(asked, "m", body, "timeout", "the server said \ud83d, which is no text")
    await ledger.put_failure(request(stage="ask"), "m", body, "http-400", "no")
    assert ledger.failures() == {("ask", "http-400"): 1, ("think", "timeout"): 2}
    assert ledger.get([reply_key(body, 100 + i) for i in range(3)]) == {}
    spent = {s.stage: s for s in ledger.spent()}
    assert (spent["think"].calls, spent["think"].failed, spent["think"].replies) == (2, 2, 0)


async def test_spending_is_summed_by_stage_and_model_or_for_some_replies_only(ledger: Ledger) -> None:
    one = await keep(ledger, request("one", n=2), "a", "b")
    two = await keep(ledger, request("two"), "c")
    await keep(ledger, request("three", stage="ask"), "d")
    await ledger.put_failure(request("four"), "m", b"", "timeout", "")
    think = next(s for s in ledger.spent() if s.stage == "think")
    assert (think.calls, think.failed, think.replies, think.retries) == (3, 1, 3, 2)
    assert (think.prompt_tokens, think.completion_tokens, think.cached_tokens) == (20, 40, 10)
    assert think.seconds == pytest.approx(0.5)
    assert {s.stage for s in ledger.spent()} == {"think", "ask"}

    (only,) = ledger.spent(two)
    assert (only.calls, only.replies, only.prompt_tokens) == (1, 1, 10)
    (both,) = ledger.spent(iter([one[0], one[1], two[0], two[0]]))
    assert (both.calls, both.prompt_tokens) == (2, 20), "a call that brought two replies is counted once"
    assert ledger.spent([]) == []
    assert ledger.spent(["00" * 16]) == []


# Writing


async def test_hundreds_of_writes_at_once_share_their_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    connect = ledger_module._connect

    def traced(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(ledger_module, "_connect", traced)
    with Ledger(tmp_path / "l.sqlite") as ledger:
        kept = await asyncio.gather(*(keep(ledger, request(f"text {i}"), f"reply {i}") for i in range(500)))
        found = ledger.get([keys[0] for keys in kept])
        assert [found[keys[0]].text for keys in kept] == [f"reply {i}" for i in range(500)]
    commits = sum(statement == "COMMIT" for statement in statements)
    assert 1 <= commits < 250


async def test_a_put_returns_only_when_others_can_see_it(ledger: Ledger, tmp_path: Path) -> None:
    with LedgerReader(tmp_path / "ledger.sqlite") as second:
        for i in range(20):
            (kept,) = await keep(ledger, request(f"text {i}"), "here")
            assert second.get([kept])[kept].text == "here"


async def test_closing_writes_what_waits(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    writing = [asyncio.ensure_future(keep(ledger, request(f"{i}"), "here")) for i in range(50)]
    await asyncio.sleep(0)
    ledger.close()
    keys = [keys[0] for keys in await asyncio.gather(*writing)]
    with Ledger(tmp_path / "l.sqlite") as again:
        assert len(again.get(keys)) == 50


async def test_a_write_that_nobody_waits_for_any_more_does_no_harm(ledger: Ledger) -> None:
    task = asyncio.ensure_future(keep(ledger, request("given up"), "here"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (kept,) = await keep(ledger, request("next"), "there")
    assert ledger.get([kept])[kept].text == "there"


KILLED = """
import asyncio, os
from pathlib import Path
from lpt.store.ledger import Ledger
from tests.scripted import request
from tests.store.test_ledger import keep

async def one(ledger, i):
    (key,) = await keep(ledger, request(f"{name} {{i}}"), "x" * 2000)
    os.write(1, f"{{key}}\\n".encode())

async def main(count):
    with Ledger(Path({path!r})) as ledger:
        for start in range(0, count, 20):
            await asyncio.gather(*(one(ledger, i) for i in range(start, start + 20)))

asyncio.run(main({count}))
"""


def writer(path: Path, name: str, count: int) -> "subprocess.Popen[str]":
    code = KILLED.format(path=str(path), name=name, count=count)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env)


def test_a_process_that_is_killed_loses_nothing_that_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    process = writer(path, "killed", 1_000_000)
    assert process.stdout
    told = [process.stdout.readline() for _ in range(300)]
    process.send_signal(signal.SIGKILL)
    told += process.stdout.readlines()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    keys = [line.strip() for line in told if line.endswith("\n")]
    assert len(keys) >= 300
    with Ledger(path) as ledger:
        for key in keys:
            assert ledger.get([key]), "its put had returned"
        assert all(choice.text == "x" * 2000 for choice in ledger.get(keys[:500]).values())
        assert asyncio.run(keep(ledger, request("goes on"), "yes"))


def test_a_ledger_is_held_by_one_process_which_others_are_told_of(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    process = writer(path, "holds it", 1_000_000)
    assert process.stdout
    process.stdout.readline()
    with pytest.raises(RunError, match=f"in use by process {process.pid} on .+: wait for it, or stop it"):
        Ledger(path)
    with LedgerReader(path) as reader:
        assert reader.spent(), "looking needs no lock"
    process.kill()
    process.communicate()
    with Ledger(path, "runs/mine") as ledger:
        assert ledger.spent()
        with pytest.raises(RunError, match=rf"process {os.getpid()} on .+ \(runs/mine\)"):
            Ledger(path)
    with Ledger(path):
        assert sorted(
            p.name for p in tmp_path.glob("*l.sqlite*") if "wal" not in p.name and "shm" not in p.name
        ) == [
            ".l.sqlite.lock",
            "l.sqlite",
        ]
    assert [p.name for p in tmp_path.iterdir()] == ["l.sqlite"]
