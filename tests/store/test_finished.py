"""Rows that are taken over make the file that their records would make, to the byte."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpt.recipe import Recipe
from lpt.records import Drop, LongThought, Question, Thought, digest
from lpt.store.finished import Finished, Journal, Rows, Span, accounts
from lpt.store.run import Run
from lpt.store.tables import TableWriter, write_table
from tests.scripted import long_thought, question, thought

MANY = [
    long_thought(
        id=digest(i), index=i, text="word " * (i * 7 % 90), method=None if i % 3 else "tag", cut=("cut",) * (i % 3)
    )
    for i in range(5000)
]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "long_thoughts.parquet"
    write_table(path, LongThought, MANY)
    return path


@settings(max_examples=20)
@given(parts=st.lists(st.tuples(st.booleans(), st.sampled_from([1, 3, 500, 2047, 2048, 2049, 4500])), min_size=1))
def test_records_and_rows_in_any_pieces_make_one_file(parts: list[tuple[bool, int]], table: Path):
    rows = pq.read_table(table)
    other = table.with_name("other.parquet")
    at = 0
    with TableWriter(other, LongThought) as writer:
        for as_rows, count in [*parts, (True, len(MANY))]:
            if as_rows:
                writer.write_rows(rows.slice(at, count))
            else:
                writer.write(MANY[at : at + count])
            at += count
    assert writer.rows == len(MANY)
    assert other.read_bytes() == table.read_bytes()


def came(run: Run, *, captions: int, each: int) -> list[LongThought]:
    """A run whose captions brought so many long thoughts each; every third one lacks a reply."""
    longs = [long_thought(id=digest(i), index=i) for i in range(captions * each)]
    with Journal(run) as journal:
        with run.writing() as tables:
            tables.open("questions", Question).write([question(id=digest(i)) for i in range(captions)])
            tables.open("thoughts", Thought).write([thought(id=digest(i)) for i in range(captions)])
            tables.open("long_thoughts", LongThought).write(longs)
        for i in range(captions):
            reason = "call-failed" if i % 3 == 2 else "unparsed"
            journal.add(f"caption {i}", "as it is", (1, 1, each), (0, 1), [Drop.make("think", str(i), "", reason)])
        journal.seal("made so", "the ledger")
    return longs


def test_an_account_says_where_the_rows_of_a_caption_are(tmp_path: Path):
    run = Run.create(tmp_path / "run", Recipe())
    longs = came(run, captions=40, each=130)
    with Finished.open(run, "made so", lambda mark: mark == "the ledger") or pytest.fail("not there") as finished:
        assert finished.captions == 40
        assert finished.of("caption 2", "as it is") is None, "it lacks a reply"
        assert finished.of("caption 3", "as it was") is None
        assert finished.of("caption 99", "as it is") is None
        first, second = finished.of("caption 15", "as it is"), finished.of("caption 16", "as it is")
        assert first
        assert second
        assert first.joined(finished.of("caption 18", "as it is") or first) is None
        span = first.joined(second)
        assert span == Span(16, 17, Rows((15, 15, 1950), (17, 17, 2210)))
        rows = [
            row["index"]
            for name, part in finished.rows(span)
            if name == "long_thoughts"
            for row in part.to_pylist()
        ]
        assert rows == [long.index for long in longs[1950:2210]], "across the end of a row group"
        assert finished.kept(span) == (2, 2, 258)
        assert [drop.record for drops in finished.drops(span) for drop in drops] == ["15", "16"]


def test_an_account_of_other_things_is_none(tmp_path: Path):
    run = Run.create(tmp_path / "run", Recipe())
    assert Finished.open(run, "made so", lambda _: True) is None
    came(run, captions=2, each=1)
    assert Finished.open(run, "made otherwise", lambda _: True) is None
    assert Finished.open(run, "made so", lambda _: False) is None
    write_table(run.table_path("thoughts"), Thought, [])
    assert Finished.open(run, "made so", lambda _: True) is None


def test_an_account_that_is_not_sealed_leaves_the_older_one(tmp_path: Path):
    run = Run.create(tmp_path / "run", Recipe())
    came(run, captions=2, each=1)
    before = {path: path.read_bytes() for path in accounts(run)}
    assert len(before) == 1
    with Journal(run) as journal:
        journal.add("caption 9", "as it is", (1, 1, 1), (0, 0), [])
    assert {path: path.read_bytes() for path in accounts(run)} == before
    assert not list(run.path.glob(".finished*"))
