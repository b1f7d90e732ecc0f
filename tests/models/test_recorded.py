"""What the ledger knows is answered for nothing; only the rest is asked, and only while there is a point in it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lpt.errors import BadReply, Denied, Down, Interrupted, ModelError, Refused, Unavailable
from lpt.models.base import Choice, Reply, Request
from lpt.models.recorded import Recorded
from lpt.store.ledger import Ledger
from tests.scripted import SETTINGS, Scripted, request, settle


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def by_seed(asked: Request, i: int) -> str:
    return f"said at {asked.seed + i}"


def recorded(inner: Scripted, ledger: Ledger, stop: asyncio.Event | None = None) -> Recorded:
    return Recorded(inner, SETTINGS, ledger, stop or asyncio.Event())


def texts(reply: Reply) -> list[str]:
    return [choice.text for choice in reply.choices]


async def test_asking_again_is_free(ledger: Ledger) -> None:
    inner = Scripted(by_seed)
    model = recorded(inner, ledger)
    first = await model.ask(request(n=3))
    again = await model.ask(request(n=3, stage="other", record="other", rank=9))
    assert len(inner.requests) == 1
    assert texts(again) == texts(first) == ["said at 100", "said at 101", "said at 102"]
    assert again.choices == first.choices
    assert [choice.key for choice in first.choices] == list(dict.fromkeys(c.key for c in first.choices))
    assert (model.traffic.asked, model.traffic.recalled) == (3, 3)
    assert (model.traffic.prompt_tokens, model.traffic.completion_tokens, model.traffic.cached_tokens) == (
        10,
        15,
        2,
    )


async def test_more_samples_ask_for_those_that_are_missing_and_for_no_more(ledger: Ledger) -> None:
    inner = Scripted(by_seed)
    model = recorded(inner, ledger)
    await model.ask(request(n=3))
    reply = await model.ask(request(n=5))
    assert [(asked.seed, asked.n) for asked in inner.requests] == [(100, 3), (103, 2)]
    assert texts(reply) == [f"said at {seed}" for seed in range(100, 105)]


async def test_fewer_samples_ask_for_nothing(ledger: Ledger) -> None:
    inner = Scripted(by_seed)
    model = recorded(inner, ledger)
    await model.ask(request(n=5))
    assert texts(await model.ask(request(n=2))) == ["said at 100", "said at 101"]
    assert len(inner.requests) == 1


async def test_gaps_are_filled_each_with_one_request_and_order_is_kept(ledger: Ledger) -> None:
    inner = Scripted(by_seed)
    model = recorded(inner, ledger)
    for seed in (101, 104):
        await model.ask(request(seed=seed))
    reply = await model.ask(request(seed=100, n=7))
    assert [(asked.seed, asked.n) for asked in inner.requests[2:]] == [(100, 1), (102, 2), (105, 2)]
    assert texts(reply) == [f"said at {seed}" for seed in range(100, 107)]


async def test_a_failure_is_remembered_and_asked_anew(ledger: Ledger) -> None:
    errors = [Unavailable("no byte", kind="timeout")]

    def says(asked: Request, i: int) -> str:
        if errors:
            raise errors.pop()
        return by_seed(asked, i)

    model = recorded(Scripted(says), ledger)
    with pytest.raises(Unavailable):
        await model.ask(request(n=2))
    assert ledger.failures() == {("think", "timeout"): 1}
    assert (model.traffic.failed, model.traffic.in_flight, model.traffic.asked) == (2, 0, 0)
    assert texts(await model.ask(request(n=2))) == ["said at 100", "said at 101"]


async def test_what_came_before_a_failure_is_kept(ledger: Ledger) -> None:
    def says(asked: Request, i: int) -> str:
        if asked.seed == 105:
            raise Refused("too long", kind="http-400")
        return by_seed(asked, i)

    inner = Scripted(says)
    model = recorded(inner, ledger)
    await model.ask(request(seed=104))
    assert texts(await model.ask(request(seed=102, n=5))) == ["said at 102", "said at 103", "said at 104"]
    assert [asked.seed for asked in inner.requests] == [104, 102, 105]
    await model.ask(request(seed=102, n=3))
    assert len(inner.requests) == 3


async def test_once_stopped_nothing_new_is_asked_but_what_is_known_is_answered(ledger: Ledger) -> None:
    inner = Scripted(by_seed)
    stop = asyncio.Event()
    model = recorded(inner, ledger, stop)
    await model.ask(request(n=2))
    stop.set()
    assert texts(await model.ask(request(n=2))) == ["said at 100", "said at 101"]
    with pytest.raises(Interrupted):
        await model.ask(request(n=3))
    assert len(inner.requests) == 1


async def test_a_call_that_is_out_when_the_run_stops_is_kept(ledger: Ledger) -> None:
    answer = asyncio.Event()
    stop = asyncio.Event()

    async def gate(_asked: Request) -> None:
        await answer.wait()

    model = recorded(Scripted(by_seed, gate=gate), ledger, stop)
    out = asyncio.ensure_future(model.ask(request()))
    await settle()
    assert model.traffic.in_flight == 1
    stop.set()
    answer.set()
    (choice,) = (await out).choices
    assert ledger.get([choice.key])
    assert model.traffic.in_flight == 0


async def test_so_many_unanswered_calls_in_a_row_that_going_on_is_pointless(ledger: Ledger) -> None:
    def says(_asked: Request, _i: int) -> str:
        raise Unavailable("connection refused", kind="refused")

    model = recorded(Scripted(says), ledger)
    kinds = []
    for i in range(64):
        with pytest.raises(ModelError) as caught:
            await model.ask(request(f"text {i}"))
        kinds.append(type(caught.value))
    assert kinds == [Unavailable] * 63 + [Down]
    assert caught.value.fatal
    assert caught.value.kind == "refused"
    assert "64 calls in a row went unanswered. The last one: connection refused" in str(caught.value)
    assert ledger.failures() == {("think", "refused"): 64}


@pytest.mark.parametrize("life", ["reply", Refused("no", kind="http-400"), BadReply("what?", kind="no-json")])
async def test_any_sign_of_life_counts_from_the_start_again(ledger: Ledger, life: str | ModelError) -> None:
    def says(asked: Request, _i: int) -> str:
        if "sign of life" not in asked.messages[0].text:
            raise Unavailable("reset", kind="reset")
        if isinstance(life, ModelError):
            raise life
        return life

    model = recorded(Scripted(says), ledger)
    for i in range(150):
        text = f"sign of life {i}" if i % 50 == 49 else f"text {i}"
        try:
            await model.ask(request(text))
        except Down:
            raise
        except ModelError:
            pass


async def test_a_fatal_error_goes_through_as_it_is(ledger: Ledger) -> None:
    def says(_asked: Request, _i: int) -> str:
        raise Denied("wrong key", kind="http-401")

    with pytest.raises(Denied, match="wrong key"):
        await recorded(Scripted(says), ledger).ask(request())


async def test_what_is_no_text_is_heard_as_it_will_be_recalled(ledger: Ledger) -> None:
    inner = Scripted(lambda _asked, _i: Choice(text="half \ud83d", reasoning="\udcff", finish_reason="length"))
    model = recorded(inner, ledger)
    heard = await model.ask(request())
    assert (heard.choices[0].text, heard.choices[0].reasoning) == ("half ?", "?")
    assert (await model.ask(request())).choices == heard.choices


async def test_of_two_that_ask_the_same_at_once_both_hear_what_is_kept(ledger: Ledger) -> None:
    # Two runs may share a ledger; a server that does not keep to seeds tells each of them something else.
    ready = [asyncio.Event(), asyncio.Event()]

    def telling(number: int) -> Recorded:
        async def gate(_asked: Request) -> None:
            await ready[number].wait()

        return recorded(Scripted(f"told to {number}", gate=gate), ledger)

    models = [telling(0), telling(1)]
    asking = [asyncio.ensure_future(model.ask(request())) for model in models]
    await settle()
    assert [model.traffic.in_flight for model in models] == [1, 1]
    ready[1].set()
    assert texts(await asking[1]) == ["told to 1"]
    ready[0].set()
    assert texts(await asking[0]) == ["told to 1"]


async def test_in_flight_counts_what_is_out_even_when_it_is_cancelled(ledger: Ledger) -> None:
    never = asyncio.Event()

    async def gate(_asked: Request) -> None:
        await never.wait()

    model = recorded(Scripted(by_seed, gate=gate), ledger)
    out = [asyncio.ensure_future(model.ask(request(f"{i}"))) for i in range(5)]
    await settle()
    assert model.traffic.in_flight == 5
    for task in out:
        task.cancel()
    await asyncio.gather(*out, return_exceptions=True)
    assert model.traffic.in_flight == 0


async def test_a_failed_call_does_not_take_along_the_samples_that_are_known(ledger: Ledger) -> None:
    fail = [False]

    def says(asked: Request, i: int) -> str:
        if fail[0]:
            raise BadReply("nonsense", kind="not-json")
        return by_seed(asked, i)

    model = recorded(Scripted(says), ledger)
    await model.ask(request(seed=101, n=2))
    fail[0] = True
    reply = await model.ask(request(seed=100, n=5))
    assert list(reply.samples()) == [(1, reply.choices[0]), (2, reply.choices[1])]
    assert texts(reply) == ["said at 101", "said at 102"]
    assert (reply.lost, reply.missing(5)) == ("not-json", [0, 3, 4])


async def test_another_template_of_a_text_prompt_is_another_request(ledger: Ledger, tmp_path: Path) -> None:
    inner = Scripted(by_seed)
    own = tmp_path / "own.jinja"

    async def asked_anew(turn: str | None, **settings: str) -> bool:
        changed = msgspec.convert({**msgspec.to_builtins(SETTINGS), **settings}, type(SETTINGS))
        before = len(inner.requests)
        await Recorded(inner, changed, ledger, asyncio.Event()).ask(request(prefill=turn))
        return len(inner.requests) > before

    here = {"prefill": "completions", "template": "chatml"}
    assert await asked_anew("It is")
    assert await asked_anew("It is", **here)
    assert not await asked_anew("It is", **here)
    assert await asked_anew("It is", **{**here, "template": "deepseek-r1"})
    own.write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    assert await asked_anew("It is", **{**here, "template": str(own)})
    moved = own.rename(tmp_path / "moved.jinja")
    assert not await asked_anew("It is", **{**here, "template": str(moved)}), "what it says counts, not where it is"
    moved.write_text("{% for m in messages %}- {{ m.content }}{% endfor %}")
    assert await asked_anew("It is", **{**here, "template": str(moved)})
    # A template that does not render the prompt is no part of what is asked.
    assert not await asked_anew("It is", prefill="trailing", template="chatml")
    assert await asked_anew(None)
    assert not await asked_anew(None, **here)


async def test_what_came_of_a_call_before_the_stop_is_kept_and_the_rest_is_no_drop(ledger: Ledger) -> None:
    stop = asyncio.Event()

    class Half:
        async def ask(self, asked: Request) -> Reply:
            stop.set()
            return Reply(choices=(Choice(text="paid for"),), indexes=(0,), lost="stopped")

    model = Recorded(Half(), SETTINGS, ledger, stop)
    with pytest.raises(Interrupted):
        await model.ask(request(n=2))
    assert texts(await model.ask(request())) == ["paid for"]
