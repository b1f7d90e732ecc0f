"""What an earlier run finished is taken over, and the tables are those of a run that derives everything."""

import asyncio
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perf.instant import Instant, instead

from lpt import resume
from lpt.captions import examine
from lpt.captions.base import Fault
from lpt.captions.known import Known
from lpt.captions.paths import read_file
from lpt.curate import compose as composing
from lpt.curate.compose import compose
from lpt.curate.funnel import check, funnel
from lpt.errors import Interrupted, Unavailable
from lpt.look.status import spent
from lpt.models.base import Reply, Request
from lpt.models.recorded import Traffic
from lpt.pipeline import State, synthesize
from lpt.recipe import Recipe
from lpt.store.finished import accounts
from lpt.store.run import Run
from lpt.store.tables import TABLES
from tests.captions.files import encoded, noisy, put
from tests.conftest import small_recipe

PICTURES = [encoded(noisy((12, 12), seed=seed), "PNG") for seed in range(5)]
ROWS = ("questions", "thoughts", "long_thoughts", "drops")


class Told:
    """A watcher that keeps what it was told."""

    def __init__(self) -> None:
        self.images = self.came = self.taken = 0
        self.counts: dict[str, list[int]] = {}

    def begin(self, images: int, models: dict[str, Traffic]) -> None:
        self.images = images

    def tell(self, stage: str, kept: int, dropped: int) -> None:
        before = self.counts.setdefault(stage, [0, 0])
        self.counts[stage] = [before[0] + kept, before[1] + dropped]

    def arrived(self) -> None:
        self.came += 1

    def known(self, images: int) -> None:
        self.taken += images

    def stopping(self) -> None: ...

    def say(self, message: str) -> None: ...


class Moody(Instant):
    """Fails where it is told to, and stops the run after so many calls."""

    def __init__(self, fails: Callable[[Request], bool] = lambda _: False, *, calls: int = 10**9) -> None:
        super().__init__(questions=2, words=3, useless=0.2)
        self.calls = calls
        self._fails = fails

    async def ask(self, request: Request) -> Reply:
        self.calls -= 1
        if self.calls < 0:
            raise Interrupted("stopped")
        if self._fails(request):
            raise Unavailable("down", kind="http-503")
        return await super().ask(request)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Five pictures, the first two with two captions each, listed as the source of `recipe`."""
    return listed(tmp_path / "pictures", range(7))


def listed(folder: Path, rows: Any) -> Path:
    for i, data in enumerate(PICTURES):
        put(folder, f"{i}.png", data, None)
    lines = [{"image": f"{row % 5}.png", "caption": f"Caption {row}.", "id": f"r{row}"} for row in rows]
    (folder / "list.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return folder


def recipe(pictures: Path, *overrides: str) -> Recipe:
    source = ("captions.source=jsonl", f"captions.path={pictures}/list.jsonl", "captions.count=100")
    return small_recipe("http://127.0.0.1:9/v1", *source, *overrides)


def carried_out(of: Recipe, out: Path, model: Instant | None = None, **more: Any) -> tuple[Run, Told]:
    told = Told()
    with instead(model or Moody()):
        return synthesize(of, out, watcher=told, **more), told


def tables(run: Run) -> dict[str, bytes]:
    return {name: run.table_path(name).read_bytes() for name in TABLES if run.has(name)}


def derived(of: Recipe, run: Run, **more: Any) -> dict[str, bytes]:
    """The tables of a run that has nothing to take over but the same ledger."""
    for account in accounts(run):
        account.unlink()
    return tables(carried_out(of, run.path, **more)[0])


def never() -> None:
    raise AssertionError("no server is needed")


def test_a_finished_run_is_not_derived_again_and_its_tables_stay(pictures: Path, tmp_path: Path):
    of = recipe(pictures)
    run, first = carried_out(of, tmp_path / "run")
    made = tables(run)
    compose(run)
    stat = {name: run.table_path(name).stat().st_ino for name in ROWS}
    again = Told()
    with instead(Moody(calls=0), begun=never):
        synthesize(of, run.path, watcher=again)
    assert (again.images, again.taken, again.came) == (7, 7, 0)
    assert again.counts == first.counts
    assert {name: run.table_path(name).stat().st_ino for name in ROWS} == stat
    assert State.of_run(run) == State(complete=True, images=7, of=7, until="think_harder")
    check(funnel(run))
    sets = tables(run)
    assert derived(of, run) == sets | {"drops": made["drops"]}
    compose(run)
    assert tables(run) == sets


def test_what_was_spent_is_the_same_however_it_came(pictures: Path, tmp_path: Path):
    of = recipe(pictures)
    run, _ = carried_out(of, tmp_path / "run")
    paid = spent(run)
    carried_out(of, run.path)
    assert spent(run) == paid
    derived(of, run)
    assert spent(run) == paid


def test_more_and_fewer_captions_take_over_the_rest(pictures: Path, tmp_path: Path):
    of = recipe(pictures)
    run, _ = carried_out(of, tmp_path / "run", limit=4)
    for limit, came in ((7, 3), (2, 0), (5, 3)):  # what is taken out is no longer in the tables
        _, told = carried_out(of, run.path, limit=limit)
        assert (told.came, told.taken) == (came, limit - came)
        assert tables(run) == derived(of, run, limit=limit)


def test_only_an_image_whose_call_failed_travels_again(pictures: Path, tmp_path: Path):
    of = recipe(pictures)
    whole = tables(carried_out(of, tmp_path / "whole")[0])
    fails = iter([*[False] * 20, True])
    run, _ = carried_out(of, tmp_path / "run", Moody(lambda _: next(fails, False)))
    assert run.failed_calls()
    healthy = Moody()
    _, told = carried_out(of, run.path, healthy)
    assert (told.came, told.taken) == (1, 6)
    assert healthy.asked > 0
    assert tables(run) == whole


CHANGES = (
    "seed=1", "ask.questions=1", "ask.temperature=0.1", "think.samples=3", 'think.formats=["text"]',
    "think_harder.samples=1", 'think_harder.cues=["Wait,"]', "budget.right=1", "captions.quality=50",
    "captions.max_pixels=100", 'models.reasoner.version="2"', "models.asker.extra.top_a=1",
    'models.student.prefill="instructed"',
    'models.student={model="student", prefill="completions", template="chatml"}',
    'think_harder.joints=[" "]',
)  # fmt: skip
NO_CHANGES = (
    "curate.keep=0.5", 'curate.policy="paper"', "run.images_in_flight=2", "models.student.concurrency=3",
    'models.student.url="http://elsewhere/v1"', "models.asker.price.input=3", 'models.student.prefill="trailing"',
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_another_recipe_is_another_fingerprint(change: str, tmp_path: Path):
    assert mark(tmp_path, change) != mark(tmp_path)


@pytest.mark.parametrize("change", NO_CHANGES)
def test_what_rows_do_not_depend_on_is_no_part_of_the_fingerprint(change: str, tmp_path: Path):
    assert mark(tmp_path, change) == mark(tmp_path)


def mark(folder: Path, *overrides: str, until: str = "think_harder") -> str:
    return resume.fingerprint(recipe(folder, *overrides), until)


def test_stages_prompts_and_our_own_code_are_part_of_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert mark(tmp_path, until="think") != mark(tmp_path)
    marks = {mark(tmp_path)}
    for i, words in enumerate(("One: {caption} {questions} {form}", "Two: {caption} {questions} {form}")):
        (tmp_path / f"{i}.txt").write_text(words)
        marks.add(mark(tmp_path, f'ask.prompt="{tmp_path}/{i}.txt"'))
    sources = shutil.copytree(Path(resume.__file__).parent, tmp_path / "lpt")
    monkeypatch.setattr(resources, "files", lambda _name: sources)
    for name in ("synthesis/grade.py", "synthesis/prompts/think.txt", "records.py"):
        resume._sources.cache_clear()
        before = mark(tmp_path)
        (sources / name).write_text((sources / name).read_text() + "\n# other")
        resume._sources.cache_clear()
        marks |= {before, mark(tmp_path)}
    resume._sources.cache_clear()
    assert len(marks) == 6


def test_another_recipe_takes_nothing_over(pictures: Path, tmp_path: Path):
    run, _ = carried_out(recipe(pictures), tmp_path / "run")
    of = recipe(pictures, "think.samples=1")
    _, told = carried_out(of, run.path)
    assert (told.came, told.taken) == (7, 0)
    assert tables(run) == derived(of, run)


def test_the_other_side_of_the_split_is_another_caption(pictures: Path, tmp_path: Path):
    run, _ = carried_out(recipe(pictures, "curate.validation=0.0"), tmp_path / "run")
    of = recipe(pictures, "curate.validation=0.5")
    _, told = carried_out(of, run.path)
    assert 0 < told.taken < 7
    assert tables(run) == derived(of, run)


@pytest.mark.parametrize("name", ["questions", "thoughts", "long_thoughts"])
def test_a_damaged_table_is_derived_from_the_ledger(name: str, pictures: Path, tmp_path: Path):
    of = recipe(pictures)
    run, _ = carried_out(of, tmp_path / "run")
    whole = tables(run)
    data = bytearray(whole[name])
    data[len(data) // 3] ^= 1
    run.table_path(name).write_bytes(data)
    model = Moody()
    _, told = carried_out(of, run.path, model)
    assert (told.came, told.taken, model.asked) == (7, 0, 0)
    assert tables(run) == whole
    run.table_path(name).unlink()
    carried_out(of, run.path, model)
    assert (tables(run), model.asked) == (whole, 0)


def test_a_damaged_or_torn_account_is_made_anew(pictures: Path, tmp_path: Path):
    of = recipe(pictures)
    run, _ = carried_out(of, tmp_path / "run")
    whole = tables(run)
    (account,) = accounts(run)
    data = account.read_bytes()
    middle = len(data) // 2
    for torn in (
        b"",
        b"no database",
        data[:middle],
        data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
    ):
        account.write_bytes(torn)
        _, told = carried_out(of, run.path)
        assert (told.came, told.taken) == (7, 0)
        assert tables(run) == whole
        assert accounts(run) == [account]
    assert carried_out(of, run.path)[1].taken == 7


def test_without_its_ledger_nothing_is_taken_over(pictures: Path, tmp_path: Path):
    of = recipe(pictures)
    run, _ = carried_out(of, tmp_path / "run")
    for file in run.path.glob("ledger.sqlite*"):
        file.unlink()
    model = Moody()
    _, told = carried_out(of, run.path, model)
    assert (told.came, told.taken) == (7, 0)
    assert model.asked > 0, "who takes the ledger away wants to hear new answers"


def test_stopping_a_resumed_run_keeps_what_was_finished(pictures: Path, tmp_path: Path):
    of = recipe(pictures, "run.images_in_flight=1")
    run, _ = carried_out(of, tmp_path / "run", limit=4)
    with pytest.raises(Interrupted, match="stopped after 4 of 7"):
        carried_out(of, run.path, Moody(calls=1))
    assert State.of_run(run) == State(complete=False, images=4, of=7, until="think_harder")
    _, told = carried_out(of, run.path)
    assert (told.came, told.taken) == (3, 4)
    assert tables(run) == derived(of, run)


def test_ones_own_questions_are_part_of_what_was_finished(tmp_path: Path):
    rows = [
        {"image": f"{i % 3}.png", "question": f"What is {i}?", "options": ["a", "b", "c", "d"], "answer": "B"}
        | {"caption": "One."}
        for i in range(6)
    ]  # fmt: skip
    listed(tmp_path / "pictures", [])
    file = tmp_path / "pictures" / "own.jsonl"

    def write() -> None:
        file.write_text("\n".join(map(json.dumps, [*rows, {"image": "0.png", "caption": "One."}])))

    write()
    base = msgspec.structs.replace(recipe(tmp_path / "pictures"), ask=None, captions=Recipe().captions)
    text = base.toml() + f'\n[questions]\nsource = "jsonl"\npath = "{file}"\n'
    of = Recipe.parse(text)
    run, told = carried_out(of, tmp_path / "run")
    assert (told.came, told.images) == (3, 3)
    assert carried_out(of, run.path)[1].taken == 3
    rows[1]["answer"] = "C"
    write()
    _, told = carried_out(of, run.path)
    assert (told.came, told.taken) == (1, 2)
    check(funnel(run))
    assert tables(run) == derived(of, run)


def test_sets_that_stand_are_not_composed_again(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run, _ = carried_out(recipe(pictures), tmp_path / "run")
    compose(run)
    sets = tables(run)

    def again(*overrides: str) -> bool:
        """Whether the same command composes."""
        with monkeypatch.context() as patched:
            done: list[Run] = []
            inner = composing._compose

            def composed(run: Run) -> None:
                done.append(run)
                inner(run)

            patched.setattr(composing, "_compose", composed)
            compose(carried_out(recipe(pictures, *overrides), run.path)[0])
        return bool(done)

    assert not again()
    assert again("curate.keep=0.9"), "another setting"
    assert again()
    assert tables(run) == sets
    (pictures / "4.png").unlink()
    assert again(), "fewer images, and another drop"
    assert not again()
    data = bytearray(run.table_path("sft").read_bytes())
    data[20] ^= 1
    run.table_path("sft").write_bytes(data)
    assert again(), "a damaged set"
    own = pictures / "own.py"
    own.write_text("import polars as pl\ndef none(learnt, settings):\n    return learnt.is_null()\n")
    for _ in range(2):
        assert again(f'curate.filters=["{own}:none"]'), "code that may have changed"


# --- always ------------------------------------------------------------------------------------------------------

STEPS = st.fixed_dictionaries(
    {
        "rows": st.sets(st.integers(0, 9), min_size=1).map(sorted),
        "limit": st.none() | st.integers(1, 10),
        "recipe": st.sampled_from([(), ("think.samples=1",), ("curate.validation=0.9",), ("curate.keep=0.3",)]),
        "in_flight": st.sampled_from([1, 2, 64]),
        "until": st.sampled_from(["think_harder", "think_harder", "think"]),
        "calls": st.integers(0, 40) | st.none(),
        "fails": st.floats(0, 0.3),
        "then": st.sampled_from(["", "compose", "tear"]),
    }
)


@settings(max_examples=15)
@given(steps=st.lists(STEPS, min_size=2, max_size=3))
def test_whatever_came_before_the_tables_are_those_of_one_undisturbed_run(
    steps: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
):
    folder = tmp_path_factory.mktemp("always")
    for step in steps:
        pictures = listed(folder / "pictures", step["rows"])
        of = recipe(pictures, *step["recipe"], f"run.images_in_flight={step['in_flight']}")
        lucky = itertools.count()

        def fails(_request: Request, step: dict[str, Any] = step, lucky: Iterator[int] = lucky) -> bool:
            return next(lucky) * 7919 % 100 < 100 * float(step["fails"])

        try:
            model = Moody(fails, calls=10**9 if step["calls"] is None else step["calls"])
            run, told = carried_out(of, folder / "run", model, limit=step["limit"], until=step["until"])
            assert told.came + told.taken == told.images
        except Interrupted:
            run = Run.open(folder / "run")
        if step["then"] == "compose":
            compose(run)
            check(funnel(run))
        elif step["then"] == "tear":
            run.table_path("thoughts").write_bytes(b"torn")
    last = {"limit": steps[-1]["limit"], "until": steps[-1]["until"]}
    run, told = carried_out(of, folder / "run", **last)
    whole, all_of_it = carried_out(of, folder / "whole", **last)
    for each in (run, whole):
        compose(each)
        check(funnel(each))
    assert tables(whole) == tables(run)
    assert told.counts == all_of_it.counts
    assert carried_out(of, folder / "run", **last)[1].taken == told.images


# --- the intake --------------------------------------------------------------------------------------------------


def test_an_image_file_that_has_not_changed_is_not_read_again(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    of = recipe(pictures)
    run, _ = carried_out(of, tmp_path / "run", until="ask")
    before = tables(run)
    read: list[str] = []

    def reading(path: Path, *more: Any) -> bytes | Fault:
        read.append(path.name)
        return read_file(path, *more)

    monkeypatch.setattr(examine, "read_file", reading)
    carried_out(of, run.path, until="ask")
    assert read == []
    assert tables(run) == before
    put(pictures, "3.png", PICTURES[3] + b"more", None)
    (pictures / "4.png").unlink()
    _, told = carried_out(of, run.path, until="ask")
    assert sorted(read) == ["3.png", "4.png"]
    assert (told.images, told.taken, told.came) == (6, 5, 1)
    assert told.counts["captions"] == [0, 1], "4.png is missing"


def test_what_is_known_of_files_may_be_damaged(pictures: Path, tmp_path: Path):
    of = recipe(pictures)
    run, _ = carried_out(of, tmp_path / "run", until="ask")
    before = tables(run)
    for torn in (b"no database", b"", (run.path / "intake.sqlite").read_bytes()[:5000]):
        (run.path / "intake.sqlite").write_bytes(torn)
        carried_out(of, run.path, until="ask")
        assert tables(run) == before
    (run.path / "intake.sqlite").unlink()
    (run.path / "intake.sqlite").mkdir()
    carried_out(of, run.path, until="ask")
    assert tables(run) == before


def test_a_picture_that_changed_unseen_is_not_sent_under_the_old_name(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    of = recipe(pictures)
    run, _ = carried_out(of, tmp_path / "run", until="ask")
    same = (pictures / "3.png").stat()
    put(pictures, "3.png", PICTURES[0][:-4] + b"abcd", None)
    inner = Known.file
    with monkeypatch.context() as patched:  # as if it had the size, times and number that it had
        patched.setattr(
            Known, "file", lambda self, path, stat: inner(self, path, same if path.name == "3.png" else stat)
        )
        another = recipe(pictures, "seed=5")
        carried_out(another, run.path)
    (drop,) = (drop for drop in run.drops() if drop.stage == "ask")
    assert (drop.stage, drop.reason, drop.detail) == ("ask", "image-changed", "3.png")
    carried_out(another, run.path)
    assert "ask" not in {drop.stage for drop in run.drops()}
    assert run.table("questions").collect()["image"].n_unique() == 5


def test_a_second_run_of_images_that_a_run_keeps_decodes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"image": PICTURES, "caption": [f"Caption {i}." for i in range(5)]}), file)
    of = small_recipe("http://nowhere/v1", "captions.source=parquet", f"captions.path={file}", "captions.count=9")
    run, _ = carried_out(of, tmp_path / "run", until="ask")
    monkeypatch.setattr(examine, "fault_of", lambda _data: never())
    assert carried_out(of, run.path, until="ask")[1].taken == 5


# --- long runs ---------------------------------------------------------------------------------------------------


def test_a_long_run_leaves_no_task_and_no_handle_behind(tmp_path: Path):
    left = []
    for turn in range(4):
        many = listed(tmp_path / "pictures", range(20 * (turn + 1)))
        seen: list[int] = []

        class Counting(Moody):
            async def ask(self, request: Request, seen: list[int] = seen) -> Reply:
                seen.append(len(asyncio.all_tasks()))
                return await super().ask(request)

        carried_out(recipe(many, "run.images_in_flight=4"), tmp_path / "run", Counting())
        left.append((len(list(Path("/dev/fd").iterdir())), max(seen)))
    assert left[-1][0] <= left[1][0] + 2
    # An image has two questions, each of them two lines, each of those four slots at most.
    assert max(tasks for _, tasks in left) <= 2 + 4 * (1 + 2 * (1 + 2 * (1 + 4)))
