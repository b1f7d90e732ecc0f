"""`lpt verify`: what is asked, what is made of the replies, and what filters do with it. Real runs against `lpt sim`."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.curate import verify
from lpt.curate.compose import compose
from lpt.curate.funnel import check
from lpt.curate.judged import judged
from lpt.curate.verify import Asked, Trace, orders
from lpt.errors import Denied, RecipeError, RunError, Unavailable, UserError
from lpt.models.base import Choice, Image, Reply, Request
from lpt.pipeline import synthesize
from lpt.recipe import Recipe
from lpt.records import LETTERS, Judgement, Question
from lpt.settings import BlindSettings, ConsistencySettings, DisagreeSettings
from lpt.store.ledger import Ledger
from lpt.store.run import Run
from lpt.verification import verify_run
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


# --- one question, one model of the test's own ---------------------------------------------------------------------

QUESTION = Question(
    id="q" * 32,
    caption="c",
    image="i",
    index=0,
    stem="How many are there?",
    options=("two", "three", "four", "five"),
    answer="B",
    kind="counting",
    answer_format="(X)",
    system="",
    prompt="",
    reply=None,
    split="train",
)
PICTURE = Image(key="k", data=b"")


class Says:
    """A model that answers as a function of the options that it is shown, and remembers what it was asked."""

    def __init__(self, say: Callable[[list[str], int], str]) -> None:
        self.say = say
        self.asked: list[Request] = []

    async def ask(self, request: Request) -> Reply:
        self.asked.append(request)
        lines = request.messages[-1].text.splitlines()
        shown = [line[4:] for line in lines if line[:1] == "(" and line[2:4] == ") "]
        texts = [self.say(shown, len(self.asked) + i) for i in range(request.n)]
        return Reply(choices=tuple(Choice(text=f"<answer>{text}</answer>") for text in texts))


def letter_of(option: str) -> Callable[[list[str], int], str]:
    return lambda shown, _: f"({LETTERS[shown.index(option)]})"


async def blind(say: Callable[[list[str], int], str], samples: int = 4) -> Judgement:
    settings = BlindSettings(model="m", samples=samples)
    return await verify.blind(Asked(Says(say), "m", 0), QUESTION, settings)


async def disagree(say: Callable[[list[str], int], str], samples: int = 4) -> Judgement:
    settings = DisagreeSettings(model="m", samples=samples)
    return await verify.disagree(Asked(Says(say), "m", 0), QUESTION, PICTURE, settings)


@given(options=st.lists(st.text(min_size=1, max_size=4), min_size=2, max_size=6, unique=True), seed=st.integers())
def test_each_option_stands_in_each_place_equally_often(options: list[str], seed: int):
    shown = [order for order, _ in zip(orders(options, "q", seed, "blind"), range(2 * len(options)), strict=False)]
    for half in (shown[: len(options)], shown[len(options) :]):
        for place in range(len(options)):
            assert sorted(order[place] for order in half) == sorted(options)
    again = [order for order, _ in zip(orders(options, "q", seed, "blind"), shown, strict=False)]
    assert again == shown


async def test_a_liking_for_a_letter_is_worth_exactly_chance():
    for letter in "ABCD":
        assert (await blind(lambda _shown, _, letter=letter: letter, 8)).value == 0.25


async def test_who_knows_the_answer_is_found_whatever_the_order():
    found = await blind(letter_of("three"))
    assert (found.value, found.said, found.outcome) == (1.0, "B B B B", "judged")
    assert (await blind(letter_of("two"))).value == 0.0


async def test_no_image_is_sent_with_a_blind_question_and_one_with_the_other():
    for image in (False, True):
        model = Says(letter_of("two"))
        asked = Asked(model, "m", 0)
        if image:
            await verify.disagree(asked, QUESTION, PICTURE, DisagreeSettings(model="m"))
        else:
            await verify.blind(asked, QUESTION, BlindSettings(model="m"))
        assert {message.images for request in model.asked for message in request.messages} == {
            (PICTURE,) if image else ()
        }
        assert len({request.seed for request in model.asked}) == len(model.asked)


async def test_disagreement_is_the_lead_of_the_favourite_over_the_marked_answer():
    assert (await disagree(letter_of("three"))).value == -1.0
    assert (await disagree(letter_of("five"))).value == 1.0
    turns = ["three", "five", "five", "two"]
    assert (await disagree(lambda shown, n: letter_of(turns[n - 1])(shown, n))).value == 0.25
    # A tie is no disagreement.
    assert (await disagree(lambda shown, n: letter_of(("three", "five")[n % 2])(shown, n))).value == 0.0


async def test_what_cannot_be_read_is_neither_a_yes_nor_a_no():
    half = await blind(lambda shown, n: letter_of("three")(shown, n) if n % 2 else "I cannot see it")
    assert (half.outcome, half.value) == ("judged", 1.0)
    most = await blind(lambda shown, n: letter_of("three")(shown, n) if n == 1 else "I cannot see it")
    assert (most.outcome, most.value) == ("unparsed", None)
    assert sorted(most.said.split()) == ["?", "?", "?", "B"]


class Fails:
    """A model whose calls fail."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def ask(self, request: Request) -> Reply:
        raise self.error


async def test_a_call_that_fails_is_an_outcome_and_a_fatal_one_an_error():
    settings = BlindSettings(model="m", samples=2)
    found = await verify.blind(Asked(Fails(Unavailable("gone", kind="reset")), "m", 0), QUESTION, settings)
    assert (found.outcome, found.value, found.said, found.replies) == ("failed", None, "! !", ())
    with pytest.raises(Denied):
        await verify.blind(Asked(Fails(Denied("no", kind="http-401")), "m", 0), QUESTION, settings)


async def consistency(say: Callable[[list[str], int], str], thought: str = "So it is (B) three.") -> Judgement:
    model = Says(say)
    trace = Trace("t" * 32, "i", thought, "B")
    found = await verify.consistency(Asked(model, "m", 0), trace, QUESTION, ConsistencySettings(model="m"))
    (request,) = model.asked
    assert thought in request.messages[0].text
    assert request.n == 3
    return found


async def test_the_judge_is_not_told_the_answer_and_may_say_that_there_is_none():
    assert (await consistency(letter_of("three"))).value == 1.0
    assert (await consistency(letter_of("four"))).value == 0.0
    neither = await consistency(letter_of(verify.NEITHER))
    assert (neither.value, neither.said, neither.outcome) == (0.0, "- - -", "judged")
    # What is asked does not depend on what is stated.
    texts = set()
    for letter in "AB":
        model = Says(letter_of("two"))
        trace = Trace("t" * 32, "i", "Hmm.", letter)
        await verify.consistency(Asked(model, "m", 0), trace, QUESTION, ConsistencySettings(model="m"))
        texts.add(model.asked[0].messages[0].text)
    assert len(texts) == 1


# --- whole runs ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def module_sim(tmp_path_factory: pytest.TempPathFactory):
    from tests.conftest import simulate

    dials = ("wrong_answer=0.2", "giveaway=0.3", "inconsistent=0.3", "judge_wrong=0")
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
    return verify_run(run)


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
    verify_run(again, slow)
    assert table(again) == table(verified)
    assert len(module_sim.requests()) == before


def test_a_check_that_is_not_asked_for_keeps_its_judgements(verified: Run, module_sim: Sim, copy):
    run = copy()
    more = Recipe.parse(run.recipe.toml(), overrides=("verify.blind.samples=8",))
    before = len(module_sim.requests())
    run = verify_run(run, more, checks=("blind",))
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
    broken = start_sim("--fault", "content-filter=1.0")
    run = copy(filters=("blind", "disagree", "inconsistent"))
    clean = table(run)
    fresh = msgspec.structs.replace(run.recipe, ledger=str(tmp_path / "other.sqlite"))

    def at(url: str) -> Recipe:
        models = {name: msgspec.structs.replace(m, url=url, attempts=1) for name, m in fresh.models.items()}
        return msgspec.structs.replace(fresh, models=models)

    run = verify_run(run, at(broken.url))
    assert set(judgements(run)["outcome"]) <= {"failed", "unparsed"}
    assert judgements(run)["value"].null_count() == judgements(run).height
    compose(run)
    assert run.table("drops").filter(pl.col("stage") == "filter").collect().is_empty()
    assert sum(count.failed + count.unparsed for count in judged(run)) == judgements(run).height
    del clean


def test_a_judge_that_cannot_be_read_is_unparsed(start_sim, copy, tmp_path: Path):
    mute = start_sim("--dial", "judge_unparsed=1")
    run = copy(filters=("inconsistent",))
    models = {name: msgspec.structs.replace(m, url=mute.url) for name, m in run.recipe.models.items()}
    other = msgspec.structs.replace(run.recipe, models=models, ledger=str(tmp_path / "other.sqlite"))
    run = verify_run(run, other, checks=("consistency",))
    assert set(judgements(run, "consistency")["outcome"]) == {"unparsed"}
    assert next(count for count in judged(run) if count.check == "consistency").unparsed > 0


def test_an_image_that_has_gone_fails_its_disagreement_only(copy):
    run = copy()
    for file in run.images.iterdir():
        file.unlink()
    run = verify_run(run)
    assert set(judgements(run, "disagree")["outcome"]) == {"failed"}
    assert set(judgements(run, "blind")["outcome"]) == {"judged"}


def test_what_cannot_be_done_is_said(sim: Sim, tmp_path: Path, copy):
    bare = small_recipe(sim.url, scenes=1)
    with pytest.raises(RecipeError, match="no check to make"):
        verify_run(Run.create(tmp_path / "bare", bare))
    with pytest.raises(RecipeError, match=r"verify.blind.model.*did you mean `student`"):
        verify_run(Run.create(tmp_path / "bare", small_recipe(sim.url, "verify.blind.model=studnt")))
    with pytest.raises(RunError, match="nothing to verify"):
        verify_run(Run.create(tmp_path / "bare", small_recipe(sim.url, "verify.blind.model=student")))
    only = small_recipe(sim.url, "verify.blind.model=student")
    with pytest.raises(UserError, match="verify.disagree"):
        verify_run(copy(), only, checks=("disagree",))
    prompt = tmp_path / "mine.txt"
    prompt.write_text("Guess.")
    with pytest.raises(RecipeError, match=r"verify.blind.prompt.*\{question\}"):
        verify_run(copy(), small_recipe(sim.url, "verify.blind.model=student", f'verify.blind.prompt="{prompt}"'))


def test_stopped_it_leaves_the_judgements_as_they_were(copy, monkeypatch: pytest.MonkeyPatch):
    run = copy()
    before = table(run)

    async def broken(*_: object) -> Judgement:
        raise RuntimeError("in the middle")

    monkeypatch.setattr(verify, "consistency", broken)
    with pytest.raises(RuntimeError):
        verify_run(run)
    assert table(run) == before
    assert not [file for file in (run.path / "tables").iterdir() if "judged" in file.name]


def command(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    from lpt.cli import app

    with contextlib.suppress(SystemExit):
        app([*arguments], standalone_mode=False)
    return capsys.readouterr().out


def test_the_command_line_verifies_counts_and_composes(copy, capsys: pytest.CaptureFixture[str]):
    run = copy()
    out = command("verify", str(run.path), "--check", "blind", "--set", "verify.blind.samples=4", capsys=capsys)
    for word in ("blind", "disagree", "consistency", "not judged", "lpt compose"):
        assert word in out or word == "lpt compose"
    assert "not in curate.filters" in out
    command("compose", str(run.path), capsys=capsys)
    status = command("status", str(run.path), "--json", capsys=capsys)
    found = msgspec.json.decode(status)["judgements"]
    assert [row["check"] for row in found] == ["blind", "disagree", "consistency"]
    with pytest.raises(UserError, match="blind, disagree, consistency"):
        command("verify", str(run.path), "--check", "sight", capsys=capsys)
