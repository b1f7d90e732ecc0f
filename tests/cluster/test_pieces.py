"""Pieces of a ledger: what is taken up is what was cut, however often, in whatever order, and nothing torn."""

from pathlib import Path

import pytest

from lpt.models.base import Choice, Message, Reply, Request, Sampling, Usage
from lpt.settings import ModelSettings
from lpt.store.ledger import Ledger, canonical, reply_key
from lpt.store.pieces import Mark, cut, is_whole, take_up

MODEL = ModelSettings(model="m", url="http://127.0.0.1:1/v1")


async def answer(ledger: Ledger, *numbers: int) -> list[str]:
    """Keep a reply and a failure for each number; the keys of the replies."""
    keys = []
    for number in numbers:
        request = Request(
            stage="think",
            record=f"record {number}",
            messages=(Message(role="user", text=f"{number}?"),),
            sampling=Sampling(temperature=1.0, top_p=0.0, top_k=0, repetition_penalty=0.0, max_tokens=9),
            seed=number,
        )
        body = canonical(request, MODEL)
        key = reply_key(body, number)
        choice = Choice(text=f"{number} é", finish_reason="stop", key=key)
        await ledger.put(request, "m", body, Reply(choices=(choice,), attempts=1, usage=Usage(3, 2, 1)))
        await ledger.put_failure(request, "m", body, "timeout", "silent")
        keys.append(key)
    return keys


def rows(path: Path) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    with Ledger(path) as ledger:
        calls = ledger._read("SELECT stage, model, record, outcome, error, request, prompt_tokens FROM calls")
        replies = ledger._read("SELECT key, seed, text, reasoning, finish_reason, instructed, sum FROM replies")
    return sorted(map(tuple, calls)), sorted(map(tuple, replies))


async def test_pieces_taken_up_in_any_order_and_twice_are_the_ledger(tmp_path: Path):
    pieces = []
    mark = Mark()
    with Ledger(tmp_path / "a.sqlite") as ledger:
        for numbers in ((1, 2), (3,), (4, 5, 6)):
            await answer(ledger, *numbers)
            while piece := cut(tmp_path / "a.sqlite", mark, most=3):
                pieces.append((piece.name, piece.data))
                mark = piece.end
    assert len(pieces) > 3
    for order in (pieces, pieces[::-1]):
        take_up(tmp_path / f"{order is pieces}.sqlite", order)
        again = take_up(tmp_path / f"{order is pieces}.sqlite", order)
        assert (again.calls, again.replies) == (0, 0)
        assert rows(tmp_path / f"{order is pieces}.sqlite") == rows(tmp_path / "a.sqlite")


async def test_the_first_answer_stands(tmp_path: Path):
    with Ledger(tmp_path / "a.sqlite") as ledger:
        (key,) = await answer(ledger, 1)
    piece = cut(tmp_path / "a.sqlite", Mark())
    assert piece
    with Ledger(tmp_path / "b.sqlite") as ledger:
        await answer(ledger, 1)
    take_up(tmp_path / "b.sqlite", [(piece.name, piece.data)])
    with Ledger(tmp_path / "b.sqlite") as ledger:
        assert ledger.get([key])[key].text == "1 é"
        assert ledger._read("SELECT COUNT(*) FROM replies") == [(1,)]


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d + b"x", lambda d: b"", lambda d: d[::-1]])
async def test_a_torn_piece_is_known_by_its_name(tmp_path: Path, damage):
    with Ledger(tmp_path / "a.sqlite") as ledger:
        await answer(ledger, 1)
    piece = cut(tmp_path / "a.sqlite", Mark())
    assert piece
    assert is_whole(f"000001-{piece.name}", piece.data)
    assert not is_whole(f"000001-{piece.name}", damage(piece.data))
