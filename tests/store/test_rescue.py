"""Damage is found, named, and costs what was damaged: the rest is saved, and nothing wrong is believed."""

import logging
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpt.errors import RunError, StoreError
from lpt.store.ledger import Ledger, canonical, reply_key
from lpt.store.pages import PAGE_SIZE
from lpt.store.reading import LedgerReader
from lpt.store.rescue import examine, finish, repair, rescue, suspect
from lpt.store.schema import VERSION
from tests.scripted import SETTINGS, request
from tests.store.test_ledger import keep, reply
from tests.store.test_reading import names

REPLIES = 120


def said(i: int) -> str:
    """Short and long: of one page, and of several."""
    return f"reply {i} — " + "word " * (i * 37 % 2000)


async def filled(path: Path, count: int = REPLIES) -> dict[str, str]:
    """A ledger with replies; what each key should say."""
    with Ledger(path) as ledger:
        return {(await keep(ledger, request(f"{i}"), said(i)))[0]: said(i) for i in range(count)}


def known(path: Path, keys: dict[str, str]) -> dict[str, str]:
    with Ledger(path) as ledger:
        return {key: choice.text for key, choice in ledger.get(list(keys)).items()}


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def damaged(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.damaged-*"))


# One reply


async def changed(path: Path, text: str) -> str:
    """A ledger in which one reply was changed by the disk, not by us; its key."""
    keys = await filled(path, 3)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE replies SET text = ? WHERE text LIKE 'reply 1 %'", [text])
    connection.close()
    return next(key for key, right in keys.items() if right == said(1))


@pytest.mark.parametrize("text", ["", said(1).replace("1", "2"), said(1) + " ", said(1)[:-1]])
async def test_a_reply_that_is_not_what_was_written_is_named_and_unknown(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "l.sqlite"
    key = await changed(path, text)
    for _ in range(2):
        with LedgerReader(path) as ledger:
            assert ledger.get([key]) == {}
            assert ledger.get([key]) == {}
            assert ledger.damaged == {key}
            assert ledger.lookup(key) is None
            assert [choices for _, choices in ledger.of_record("think", "r")].count([]) == 1
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"the ledger {path}: reply {key} is damaged on the disk; it counts as not there"] * 2
    assert examine(path).damaged == [key]


async def test_bytes_that_are_no_text_are_named_and_unknown(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    key = await changed(path, "x")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE replies SET text = CAST(x'ff00fe' AS TEXT) WHERE text = 'x'")
    connection.close()
    with LedgerReader(path) as ledger:
        assert ledger.get([key]) == {}
    assert not examine(path).sound


async def test_what_is_asked_again_takes_the_place_of_what_was_damaged(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    key = await changed(path, "something else")
    asked = request("1")
    with Ledger(path) as ledger:
        assert ledger.get([key]) == {}
        assert await ledger.put(asked, "m", canonical(asked, SETTINGS), reply(said(1), asked=asked))
        assert ledger.get([key])[key].text == said(1)
        assert not ledger.damaged
    health = examine(path)
    assert health.sound
    assert [what.partition(": ")[2] for what in health.history] == [
        f"reply {key} was damaged, and was asked for again"
    ]


async def test_a_call_that_is_damaged_is_told(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    keys = await filled(path, 2)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE calls SET request = x'00' WHERE id = 2")
    connection.close()
    with LedgerReader(path) as ledger, pytest.raises(StoreError, match="call 2 in the ledger is damaged"):
        ledger.lookup(list(keys)[1])
    assert examine(path).damaged_calls == [2]


# The file


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "the first page": lambda path: overwrite(path, 0, b"\xff" * PAGE_SIZE),
    "the first bytes": lambda path: overwrite(path, 0, bytes(100)),
    "the second page": lambda path: overwrite(path, PAGE_SIZE, b"\xff" * PAGE_SIZE),
    "many pages": lambda path: overwrite(path, 3 * PAGE_SIZE, b"\x0d" * 9 * PAGE_SIZE),
    "its end": cut,
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_what_is_whole_is_saved_and_the_damaged_file_is_kept(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "l.sqlite"
    keys = await filled(path)
    DAMAGES[damage](path)
    broken = path.read_bytes()
    suspect(path).touch()  # as when it was met in a run
    left = known(path, keys)
    assert all(left[key] == keys[key] for key in left)
    assert len(left) > REPLIES // 3
    assert [file.read_bytes() for file in damaged(path)] == [broken]
    assert f"{len(left):,} replies of" in caplog.text
    assert str(damaged(path)[0]) in caplog.text
    assert examine(path).sound
    assert "are saved" in examine(path).history[0]
    assert known(path, keys) == left
    assert len(damaged(path)) == 1, "what was rescued is not rescued again"


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_whatever_is_overwritten_nothing_wrong_is_believed(
    seed: int, tmp_path_factory: pytest.TempPathFactory, whole_ledger: tuple[Path, dict[str, str]]
) -> None:
    noise = random.Random(seed)
    whole, keys = whole_ledger
    path = tmp_path_factory.mktemp("damaged") / "l.sqlite"
    shutil.copy(whole, path)
    size = path.stat().st_size
    for _ in range(noise.randrange(1, 20)):
        data = noise.randbytes(noise.choice([1, 8, 100, PAGE_SIZE])) if noise.random() < 0.5 else bytes(PAGE_SIZE)
        overwrite(path, noise.randrange(size), data)
    if noise.random() < 0.3:
        os.truncate(path, noise.randrange(PAGE_SIZE, size))
    rescue(path)
    left = known(path, keys)
    assert all(keys[key] == text for key, text in left.items())
    assert examine(path).sound


@pytest.fixture(scope="module")
def whole_ledger(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    import asyncio

    path = tmp_path_factory.mktemp("whole") / "l.sqlite"
    return path, asyncio.run(filled(path))


async def test_damage_that_is_met_in_a_run_is_rescued_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    keys = await filled(path)
    for n in range(1, path.stat().st_size // PAGE_SIZE, 2):
        overwrite(path, n * PAGE_SIZE, b"\xff" * PAGE_SIZE)
    with Ledger(path) as ledger, pytest.raises(StoreError, match="damaged: `lpt run` again, or"):
        ledger.get(list(keys))
    assert not damaged(path)
    left = known(path, keys)
    assert all(keys[key] == text for key, text in left.items())
    assert len(damaged(path)) == 1


async def test_commits_that_a_killed_process_left_in_the_log_are_saved_too(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    killed = tmp_path / "killed" / "l.sqlite"
    killed.parent.mkdir()
    keys = await filled(path, 20)
    with Ledger(path) as ledger:
        keys |= {(await keep(ledger, request(f"{i}"), said(i)))[0]: said(i) for i in range(20, 40)}
        for name in ("l.sqlite", "l.sqlite-wal"):
            shutil.copy(tmp_path / name, killed.with_name(name))
    overwrite(killed, 0, b"\xff" * 100)
    assert examine(killed).faults == ["file is not a database"]
    with pytest.raises(StoreError, match=r"damaged: .* `lpt check RUN --repair`"):
        LedgerReader(killed)
    assert known(killed, keys) == keys
    assert len(damaged(killed)) == 2, "the file and its log"


async def test_a_log_that_is_lost_costs_only_what_was_in_it(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    keys = await filled(path, 20)
    with Ledger(path) as ledger:
        await keep(ledger, request("later"), "x")
        shutil.copy(path, tmp_path / "lost.sqlite")
    assert known(tmp_path / "lost.sqlite", keys) == keys


@pytest.mark.parametrize("content", [b"no ledger, but a text of the user's " * 200, b"\xff" * 9000])
def test_a_file_in_which_nothing_is_whole_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "l.sqlite"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="nothing in it can be read: move it away"):
        Ledger(path)
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["l.sqlite"]


async def test_a_rescue_that_is_killed_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    for step in range(6):
        path = tmp_path / f"{step}" / "l.sqlite"
        keys = await filled(path, 40)
        overwrite(path, 0, b"\xff" * PAGE_SIZE)
        broken = path.read_bytes()
        steps = iter(range(100))

        def dying(real: Any, steps: Iterator[int] = steps, step: int = step) -> Any:
            def replaced(*given: Any) -> Any:
                if next(steps) == step:
                    raise Killed
                return real(*given)

            return replaced

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", dying(Path.replace))
            patch.setattr(os, "link", dying(os.link))
            try:
                rescue(path)
            except Killed:
                assert path.exists()
        left = known(path, keys)
        assert all(keys[key] == text for key, text in left.items())
        assert len(left) > 10
        assert broken in [file.read_bytes() for file in damaged(path)]


async def test_a_disk_that_has_no_room_for_a_rescue_leaves_all_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "l.sqlite"
    keys = await filled(path, 40)
    overwrite(path, 0, bytes(PAGE_SIZE))
    broken = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        Ledger(path)
    assert path.read_bytes() == broken
    assert names(tmp_path) == ["l.sqlite"]
    monkeypatch.undo()
    assert len(known(path, keys)) > 10


# Ledgers of an earlier version


OLD = """
ALTER TABLE replies DROP COLUMN sum;
DROP TABLE damage;
PRAGMA user_version = 1;
"""


async def old(path: Path) -> dict[str, str]:
    keys = await filled(path, 40)
    with sqlite3.connect(path) as connection:
        connection.executescript(OLD)
    connection.close()
    return keys


async def test_a_ledger_without_checksums_is_read_and_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    keys = await old(path)
    with LedgerReader(path) as reader:
        assert {key: choice.text for key, choice in reader.get(list(keys)).items()} == keys
    assert examine(path).unchecked == 40
    with Ledger(path) as ledger:
        assert {key: choice.text for key, choice in ledger.get(list(keys)).items()} == keys
        (new,) = await keep(ledger, request("new"), "checked")
        assert ledger.get([new])[new].text == "checked"
    assert (examine(path).unchecked, examine(path).replies) == (40, 41)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    connection.close()


async def test_a_ledger_without_checksums_is_rescued(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    keys = await old(path)
    overwrite(path, 0, b"\xff" * PAGE_SIZE)
    left = known(path, keys)
    assert all(keys[key] == text for key, text in left.items())
    assert len(left) > 30


async def test_repairing_does_what_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    key = await changed(path, "not what was said")
    saved = repair(path)
    assert saved
    assert (saved.replies, saved.calls, saved.lost) == (2, 3, 1)
    assert saved.kept.exists()
    assert repair(path) is None
    with LedgerReader(path) as ledger:
        assert ledger.get([key]) == {}
        assert not ledger.damaged, "it is gone for good"
    with Ledger(path), pytest.raises(RunError, match="in use by process"):
        repair(path)


def test_finishing_without_a_rescue_does_nothing(tmp_path: Path) -> None:
    finish(tmp_path / "l.sqlite")
    assert list(tmp_path.iterdir()) == []


async def test_what_is_said_of_damage_goes_to_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "l.sqlite"
    await filled(path, 30)
    overwrite(path, 0, bytes(PAGE_SIZE))
    with caplog.at_level(logging.WARNING), Ledger(path):
        pass
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert reply_key(b"", 0)
