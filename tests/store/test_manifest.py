"""Tables that are made together are there together, whenever the process that puts them in place is killed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lpt.errors import StoreError
from lpt.recipe import Recipe
from lpt.records import Caption, Drop, Example, Judgement
from lpt.store import manifest
from lpt.store.run import Run
from lpt.store.tables import Tables, TableWriter, read_table, write_table
from tests.scripted import caption


def drops(*reasons: str) -> list[Drop]:
    return [Drop.make("think", f"record {i}", "image", reason) for i, reason in enumerate(reasons)]


def write(run: Run, *reasons: str) -> None:
    """A generation of three tables, and of one less from the second on."""
    with run.writing() as tables:
        tables.open("drops", Drop).write(drops(*reasons))
        tables.open("captions", Caption, sort=("id",)).write(caption(str(i)) for i in range(len(reasons)))
        if len(reasons) == 1:
            tables.open("judgements", Judgement)
        else:
            tables.take_away("judgements")


def generation(run: Run) -> tuple[int, int, bool]:
    return len(list(run.drops())), len(list(run.captions())), run.has("judgements")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", Recipe())


def killed_at_each_step(
    run: Run, snapshots: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]
) -> list[Run]:
    """What a kill before each change of the folder would have left."""
    runs: list[Run] = []

    def before(change: Any) -> Any:
        def changed(*given: Any, **named: Any) -> Any:
            there = snapshots / str(len(runs))
            shutil.copytree(run.path, there)
            runs.append(Run(there, run.recipe))
            return change(*given, **named)

        return changed

    with monkeypatch.context() as patch:
        for name in ("replace", "unlink", "mkdir"):
            patch.setattr(Path, name, before(getattr(Path, name)))
        act()
    return runs


def test_whenever_it_is_killed_the_tables_are_the_old_ones_or_the_new(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(run, "one")
    runs = killed_at_each_step(run, tmp_path, monkeypatch, lambda: write(run, "one", "two"))
    assert generation(run) == (2, 2, False)
    seen = [generation(killed) for killed in runs]
    assert set(seen) == {(1, 1, True), (2, 2, False)}
    assert seen == sorted(seen), "there is one moment at which all of them change"
    for killed, before in zip(runs, seen, strict=True):
        taken_over = Run.create(killed.path, killed.recipe)
        assert generation(taken_over) == before
        assert manifest.examine(taken_over.tables) == {}
        write(taken_over, "one", "two")
        for name in names(run.tables):
            assert (taken_over.tables / name).read_bytes() == (run.tables / name).read_bytes()
        assert names(taken_over.tables) == names(run.tables) == {"drops.parquet", "captions.parquet", manifest.NAME}


def test_the_first_tables_are_all_there_or_none(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = killed_at_each_step(run, tmp_path, monkeypatch, lambda: write(run, "one"))
    assert {generation(killed) for killed in runs} == {(0, 0, False), (1, 1, True)}


def test_an_error_leaves_the_old_tables_and_nothing_else(run: Run) -> None:
    write(run, "one")
    before = {name: (run.tables / name).read_bytes() for name in names(run.tables)}
    for more in (["two", 1 / 3], ["\ud800"]):  # the one fails on the way, the other when all is written
        with pytest.raises((TypeError, UnicodeEncodeError)):
            write(run, "one", *more)
    assert {name: (run.tables / name).read_bytes() for name in names(run.tables)} == before


def test_one_table_that_is_written_beside_others_is_listed_with_them(run: Run) -> None:
    write(run, "one")
    write_table(run.tables / "drops.parquet", Drop, drops("one", "two", "three"))
    entry = manifest.load(run.tables)["drops"]
    assert entry
    assert (entry.rows, generation(run)) == (3, (3, 1, True))
    assert manifest.examine(run.tables) == {}


def test_tables_of_before_there_was_a_manifest_are_taken_as_they_are(run: Run) -> None:
    write_table(run.tables / "drops.parquet", Drop, drops("one"))
    assert names(run.tables) == {"drops.parquet"}
    assert generation(run) == (1, 0, False)
    with run.writing() as tables:
        tables.open("captions", Caption).write([caption()])
    assert generation(run) == (1, 1, False)
    assert set(manifest.load(run.tables)) == {"captions"}


def test_a_torn_table_is_named_with_what_to_do(run: Run) -> None:
    write(run, "one")
    path = run.tables / "drops.parquet"
    whole = path.read_bytes()
    for torn in (b"", whole[:-1], whole + b"x"):
        path.write_bytes(torn)
        for look in (lambda: run.table("drops"), lambda: list(run.drops()), lambda: run.has("drops")):
            with pytest.raises(
                StoreError, match=r"drops\.parquet cannot be read .*: `lpt run` again, or .* writes it anew"
            ):
                look()
        assert set(manifest.examine(run.tables)) == {"drops"}
    write(run, "one")
    assert path.read_bytes() == whole


def test_damage_that_leaves_the_size_is_found_by_the_checksum(run: Run) -> None:
    write(run, "one", "two")
    path = run.tables / "drops.parquet"
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(data)
    assert "its checksum differs" in manifest.examine(run.tables)["drops"]
    path.unlink()
    assert "is gone" in manifest.examine(run.tables)["drops"]


def test_a_damaged_manifest_is_named_and_written_anew(run: Run) -> None:
    write(run, "one")
    (run.tables / manifest.NAME).write_bytes(b'{"tables": {"drops": 5')
    with pytest.raises(StoreError, match=r"manifest\.json.* cannot be read .*: run the same command again"):
        run.table("drops")
    assert set(manifest.examine(run.tables)) == {manifest.NAME}
    write(run, "one", "two")
    assert generation(run) == (2, 2, False)
    assert manifest.examine(run.tables) == {}


def test_the_manifest_says_what_each_table_is(run: Run) -> None:
    write(run, "one", "two")
    told = msgspec.json.decode((run.tables / manifest.NAME).read_bytes())
    assert list(told["tables"]) == ["captions", "drops", "judgements"]
    assert told["tables"]["judgements"] is None
    path = run.tables / "drops.parquet"
    assert told["tables"]["drops"] == {
        "rows": 2,
        "bytes": path.stat().st_size,
        "blake2b": manifest.checksum(path),
    }


def test_writing_one_table_harms_no_other_that_is_under_way(tmp_path: Path) -> None:
    with Tables(tmp_path) as tables:
        tables.open("captions", Caption).write([caption()])
    with Tables(tmp_path) as tables:
        other = tables.open("captions", Caption)
        other.write([caption(), caption("another")])
        write_table(tmp_path / "drops.parquet", Drop, drops("one"))
    assert len(list(read_table(tmp_path / "captions.parquet", Caption))) == 2
    assert names(tmp_path) == {"captions.parquet", "drops.parquet", manifest.NAME}


def test_a_table_can_be_put_into_order_when_it_is_whole(tmp_path: Path) -> None:
    many = drops(*(f"{i * 7919 % 5000}" for i in range(5000)))
    with TableWriter(tmp_path / "sorted.parquet", Drop, sort=("reason", "id")) as writer:
        writer.write(many)
    assert writer.rows == 5000
    assert list(read_table(tmp_path / "sorted.parquet", Drop)) == sorted(many, key=lambda d: (d.reason, d.id))
    assert names(tmp_path) == {"sorted.parquet"}


def test_what_was_made_from_other_tables_is_out_of_date_when_they_say_something_else(run: Run) -> None:
    write(run, "one")
    with run.writing() as tables:
        tables.open("sft", Example, of=("drops", "captions", "thoughts"))
        tables.open("drops", Drop).write(drops("one", "two"))
    assert set(manifest.load(run.tables)["sft"].of) == {"drops", "captions"}  # type: ignore[union-attr]
    assert not run.outdated()
    write_table(run.tables / "drops.parquet", Drop, drops("one", "two"))
    assert not run.outdated(), "it says the same"
    write(run, "one", "two", "three")
    assert run.outdated()
