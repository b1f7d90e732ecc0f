"""`lpt verify`: what is asked, what is made of replies, what filters do with it. Whole runs against `lpt sim`."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl
import pytest

from lpt.curate import verify as asking
from lpt.curate.compose import compose
from lpt.curate.filters import DEFAULT
from lpt.curate.funnel import check
from lpt.curate.judged import judged
from lpt.errors import RecipeError, RunError, UserError
from lpt.pipeline import synthesize
from lpt.recipe import Recipe
from lpt.records import Judgement
from lpt.store.ledger import Ledger
from lpt.store.run import Run
from lpt.verification import verify
from tests.conftest import Sim, small_recipe

ALL = ("verify.blind.model=student", "verify.disagree.model=expert", "verify.consistency.model=judge")
LIGHT = ("verify.blind.samples=4", "verify.disagree.samples=2", "verify.consistency.samples=1")


def recipe(url: str, *overrides: str, scenes: int = 2) -> Recipe:
    models = [f'models.{name}={{model="{name}", url="{url}"}}' for name in ("expert", "judge")]
    return small_recipe(url, *models, *ALL, *LIGHT, *overrides, scenes=scenes)


def judgements(run: Run, name: str = "") -> pl.DataFrame:
    rows = run.table("judgements").collect()
    return rows.filter(pl.col("check") == name) if name else rows


def table(run: Run) -> bytes:
    return run.table_path("judgements").read_bytes()


@pytest.fixture(scope="module")
def module_sim(tmp_path_factory: pytest.TempPathFactory):
    from tests.conftest import simulate

    dials = ("wrong_answer=0.2", "giveaway=0.3", "inconsistent=0.8", "judge_wrong=0")
    with simulate(
        tmp_path_factory.mktemp("sim") / "log.jsonl", *(part for dial in dials for part in ("--dial", dial))
    ) as server:
        yield server


@pytest.fixture(scope="module")
def verified(module_sim: Sim, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two scenes, verified once and not composed: tests that change it copy it first."""
    path = tmp_path_factory.mktemp("verified") / "run"
    run = synthesize(recipe(module_sim.url), path)
    compose(run)
    return verify(run)


@pytest.fixture
def copy(verified: Run, tmp_path: Path) -> Callable[..., Run]:
    import shutil

    def made(**curate: object) -> Run:
        shutil.copytree(verified.path, tmp_path / "copy", dirs_exist_ok=True)
        settings = msgspec.structs.replace(verified.recipe.curate, **curate)
        return Run.create(tmp_path / "copy", msgspec.structs.replace(verified.recipe, curate=settings))

    return made


def test_everything_is_judged_once(verified: Run):
    questions = set(verified.table("questions").collect()["id"])
    longs = verified.table("long_thoughts").collect()
    for name in ("blind", "disagree"):
        assert set(judgements(verified, name)["record"]) == questions
    asked = set(judgements(verified, "consistency")["record"])
    dropped = set(verified.table("drops").filter(pl.col("stage") == "filter").collect()["record"])
    right = set(longs.filter(pl.col("verdict") == "correct")["id"])
    assert asked == right - dropped, "what a free filter drops is not worth a question"
    assert judgements(verified)["id"].is_unique().all()
    assert (
        judgements(verified)
        .select("image", "check", "record")
        .equals(judgements(verified).select("image", "check", "record").sort("image", "check", "record"))
    )


def test_every_reply_is_in_the_ledger(verified: Run):
    keys = [key for row in judgements(verified)["replies"] for key in row]
    with Ledger(verified.ledger_path) as ledger:
        assert len(ledger.get(keys)) == len(set(keys)) == len(keys) > 0


def test_asking_again_is_free_and_gives_the_same_bytes_in_any_order(verified: Run, module_sim: Sim, copy):
    before = len(module_sim.requests())
    again = copy()
    again.table_path("judgements").unlink()
    slow = msgspec.structs.replace(again.recipe, run=msgspec.structs.replace(again.recipe.run, images_in_flight=1))
    verify(again, slow)
    assert table(again) == table(verified)
    assert len(module_sim.requests()) == before


def test_a_check_that_is_not_asked_for_keeps_its_judgements(verified: Run, module_sim: Sim, copy):
    run = copy()
    more = Recipe.parse(run.recipe.toml(), overrides=("verify.blind.samples=8",))
    before = len(module_sim.requests())
    run = verify(run, more, checks=("blind",))
    assert {len(said.split()) for said in judgements(run, "blind")["said"]} == {8}
    for name in ("disagree", "consistency"):
        assert judgements(run, name).equals(judgements(verified, name))
    new = module_sim.requests()[before:]
    assert {request["model"] for request in new} == {"student"}
    assert len(new) == 4 * judgements(run, "blind").height, "the first four of each were known"


@pytest.mark.parametrize("name", ["blind", "disagree", "inconsistent"])
def test_a_filter_drops_what_was_objected_to_and_nothing_vanishes(copy, name: str):
    run = copy(filters=(name,), keep=1.0)
    check(compose(run))
    count = next(count for count in judged(run) if count.filter == name)
    assert count.applied
    assert count.objections > 0
    gone = set(run.table("drops").filter(pl.col("reason") == name).collect()["record"])
    values = judgements(run, count.check)
    bad = {
        "blind": pl.col("value") >= 0.75,
        "disagree": pl.col("value") > 0,
        "inconsistent": pl.col("value") < 0.5,
    }[name]
    records = set(values.filter(bad)["record"])
    assert len(records) == count.objections
    if name == "inconsistent":
        assert gone == records
    else:
        made = pl.concat([run.table(t).select("id", "question", "verdict") for t in ("thoughts", "long_thoughts")])
        assert gone == set(
            made.filter(pl.col("question").is_in(records) & (pl.col("verdict") != "unparsed")).collect()["id"]
        )
        direct = run.table("sft").filter(pl.col("set") == "direct").collect()["question"]
        assert not set(direct) & records
        assert len(direct) == values.height - len(records)


def test_thresholds_are_the_filters_and_need_no_new_question(copy, module_sim: Sim):
    before = len(module_sim.requests())
    counts = []
    for share in (1.0, 0.5, 0.0):
        run = copy(filters=("blind",), blind=share)
        compose(run)
        counts.append(run.table("drops").filter(pl.col("reason") == "blind").collect().height)
    assert counts[0] < counts[1] < counts[2]
    assert len(module_sim.requests()) == before


def test_without_judgements_a_filter_does_nothing_and_says_so(copy):
    run = copy(filters=("blind", "disagree", "inconsistent"))
    run.table_path("judgements").unlink()
    compose(run)
    assert run.table("drops").filter(pl.col("stage") == "filter").collect().is_empty()
    counts = judged(run)
    assert [count.check for count in counts] == ["blind", "disagree", "consistency"]
    questions = run.table("questions").collect().height
    assert [count.not_judged for count in counts[:2]] == [questions, questions]
    assert counts[2].not_judged > 0
    assert all(count.objections == count.judged == 0 for count in counts)
    assert judged(copy(filters=("leak",))) != []
    run.table_path("judgements").unlink(missing_ok=True)


def test_judges_that_fail_are_counted_and_asked_again(copy, start_sim, tmp_path: Path):
    broken = start_sim("--fault", "no-choices=1.0")
    run = copy(filters=(*DEFAULT, "disagree", "inconsistent"))
    clean, url = table(run), str(run.recipe.models["judge"].url)
    fresh = msgspec.structs.replace(run.recipe, ledger=str(tmp_path / "other.sqlite"))

    def at(url: str) -> Recipe:
        models = {name: msgspec.structs.replace(m, url=url, attempts=1) for name, m in fresh.models.items()}
        made: Recipe = msgspec.structs.replace(fresh, models=models)
        return made

    run = verify(run, at(broken.url))
    assert set(judgements(run)["outcome"]) == {"failed"}
    assert judgements(run)["value"].null_count() == judgements(run).height
    compose(run)
    assert not {"blind", "disagree", "inconsistent"} & set(run.table("drops").collect()["reason"])
    assert sum(count.failed for count in judged(run)) == judgements(run).height
    assert table(verify(run, at(url))) == clean


def test_a_judge_that_cannot_be_read_is_unparsed(start_sim, copy, tmp_path: Path):
    mute = start_sim("--dial", "judge_unparsed=1")
    run = copy(filters=("inconsistent",))
    models = {name: msgspec.structs.replace(m, url=mute.url) for name, m in run.recipe.models.items()}
    other = msgspec.structs.replace(run.recipe, models=models, ledger=str(tmp_path / "other.sqlite"))
    run = verify(run, other, checks=("consistency",))
    assert set(judgements(run, "consistency")["outcome"]) == {"unparsed"}
    assert next(count for count in judged(run) if count.check == "consistency").unparsed > 0


def test_an_image_that_has_gone_fails_its_disagreement_only(copy):
    run = copy()
    for file in run.images.iterdir():
        file.unlink()
    run = verify(run)
    assert set(judgements(run, "disagree")["outcome"]) == {"failed"}
    assert set(judgements(run, "blind")["outcome"]) == {"judged"}


def test_what_cannot_be_done_is_said(sim: Sim, tmp_path: Path, copy):
    bare = small_recipe(sim.url, scenes=1)
    with pytest.raises(RecipeError, match="no check to make"):
        verify(Run.create(tmp_path / "bare", bare))
    with pytest.raises(RecipeError, match=r"verify.blind.model.*did you mean `student`"):
        verify(Run.create(tmp_path / "bare", small_recipe(sim.url, "verify.blind.model=studnt")))
    with pytest.raises(RunError, match="nothing to verify"):
        verify(Run.create(tmp_path / "bare", small_recipe(sim.url, "verify.blind.model=student")))
    only = small_recipe(sim.url, "verify.blind.model=student")
    with pytest.raises(UserError, match=r"\[verify.disagree\]"):
        verify(copy(), only, checks=("disagree",))
    prompt = tmp_path / "mine.txt"
    prompt.write_text("Guess.")
    with pytest.raises(RecipeError, match=r"verify.blind.prompt.*\{question\}"):
        verify(copy(), small_recipe(sim.url, "verify.blind.model=student", f'verify.blind.prompt="{prompt}"'))


def test_stopped_it_leaves_the_judgements_as_they_were(copy, monkeypatch: pytest.MonkeyPatch):
    run = copy()
    before = table(run)

    async def broken(*_: object) -> Judgement:
        raise RuntimeError("in the middle")

    monkeypatch.setattr(asking, "consistency", broken)
    with pytest.raises(RuntimeError):
        verify(run)
    assert table(run) == before
    assert not [file for file in (run.path / "tables").iterdir() if "judged" in file.name]


def command(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    from lpt.cli import app

    app([*arguments], standalone_mode=False)
    return capsys.readouterr().out


def test_the_command_line_verifies_counts_and_composes(copy, capsys: pytest.CaptureFixture[str]):
    run = copy()
    out = command("verify", str(run.path), "--check", "blind", "--set", "verify.blind.samples=4", capsys=capsys)
    for word in ("blind", "disagree", "consistency", "not judged"):
        assert word in out
    assert "not in curate.filters" in out
    command("compose", str(run.path), capsys=capsys)
    status = command("status", str(run.path), "--json", capsys=capsys)
    found = msgspec.json.decode(status)["judgements"]
    assert [row["check"] for row in found] == ["blind", "disagree", "consistency"]
    with pytest.raises(UserError, match="blind, disagree, consistency"):
        command("verify", str(run.path), "--check", "sight", capsys=capsys)
