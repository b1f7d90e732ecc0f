"""`run.schedule = "phased"`: models that cannot live together are launched one after another; the tables stay."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lpt import Recipe, Run
from lpt.errors import Down, ModelError, UserError
from lpt.models.doctor import examine
from lpt.models.purse import Means
from lpt.models.recorded import Traffic
from lpt.phases import phases
from lpt.pipeline import State, synthesize
from lpt.records import Drop
from lpt.verification import verify
from tests.conftest import MODELS, small_recipe

TABLES = ("captions", "questions", "thoughts", "long_thoughts", "drops")

CARD = """\
import fcntl, os, pathlib, sys
from lpt.cli import main

card, name, port, *more = sys.argv[1:]
holder = os.open(f"{card}.lock", os.O_RDWR | os.O_CREAT)
try:
    fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit("out of memory: another model is on the card")
with pathlib.Path(f"{card}.log").open("a") as log:
    log.write(name + "\\n")
sys.argv = ["lpt", "sim", "--port", port, "--dial", f"log_requests={card}.jsonl", *more]
main()
"""
"""A server on a card that has room for one."""


class Card:
    """Where launched servers run, one at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        (folder / "server.py").write_text(CARD)

    def launches(self, name: str, *more: str) -> str:
        """The setting that starts a model's server."""
        words = (sys.executable, self._folder / "server.py", self._folder / "card", name, "{port}", *more)
        return " ".join(str(word) for word in words)

    def recipe(self, *overrides: str, scenes: int = 3, more: tuple[str, ...] = ()) -> Recipe:
        """A small run whose three models are launched on it."""
        text = (
            small_recipe("http://127.0.0.1:9/v1", scenes=scenes)
            .toml()
            .replace('url = "http://127.0.0.1:9/v1"\n', "")
        )
        launch = [f"models.{name}.launch='{self.launches(name, *more)}'" for name in MODELS]
        return Recipe.parse(text, overrides=[*launch, 'run.schedule="phased"', *overrides])

    @property
    def loaded(self) -> list[str]:
        """Which model was loaded, in order."""
        return (self._folder / "card.log").read_text().split()

    def asked(self) -> Iterator[dict[str, object]]:
        """Every request that reached a server."""
        for line in (self._folder / "card.jsonl").read_bytes().split(b"\n")[:-1]:
            yield msgspec.json.decode(line)


@pytest.fixture
def card(tmp_path: Path) -> Card:
    return Card(tmp_path / "card")


class Listener:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.kept: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.said: list[str] = []
        self.recalled = 0
        self.images = 0

    def begin(self, images: int, models: dict[str, Traffic]) -> None:
        self.models = models

    def tell(self, stage: str, kept: int, dropped: int) -> None:
        self.kept[stage] += kept
        self.lost[stage] += dropped

    def arrived(self) -> None:
        self.images += 1

    def known(self, images: int) -> None: ...

    def stopping(self) -> None: ...

    def say(self, message: str) -> None:
        self.said.append(message)


def tables(run: Run) -> dict[str, bytes]:
    return {name: run.table_path(name).read_bytes() for name in TABLES}


def test_one_model_after_the_other_makes_the_tables_of_all_at_once(start_sim, card: Card, tmp_path: Path):
    watcher = Listener()
    phased = synthesize(card.recipe(), tmp_path / "phased", watcher=watcher)
    together = Listener()
    mixed = synthesize(small_recipe(start_sim().url), tmp_path / "mixed", watcher=together)
    assert tables(phased) == tables(mixed)
    assert card.loaded == list(MODELS), "each once"
    assert (watcher.kept, watcher.lost, watcher.images) == (together.kept, together.lost, 3)
    assert [said.split(":")[0] for said in watcher.said] == [f"phase {i} of 3" for i in (1, 2, 3)]
    assert "think harder, with reasoner" in watcher.said[-1]
    assert all(traffic.recalled == 0 for traffic in watcher.models.values()), "nothing was known before"


def test_all_at_once_there_is_no_room(card: Card, tmp_path: Path):
    with pytest.raises(Down, match="another model is on the card"):
        synthesize(card.recipe('run.schedule="mixed"'), tmp_path / "run")


@pytest.mark.parametrize("mode", ["quota", "exhaustive"])
def test_what_failed_in_one_phase_is_not_tried_again_in_the_next(start_sim, card: Card, tmp_path: Path, mode: str):
    # Struck once, and tried once: whoever tried again would be answered.
    faults = ("--fault", "500=0.08", "--dial", "max_faults_per_request=1")
    told = (f'budget.mode="{mode}"', *(f"models.{name}.attempts=1" for name in MODELS))
    phased = synthesize(card.recipe(*told, scenes=4, more=faults), tmp_path / "phased")
    mixed = synthesize(small_recipe(start_sim(*faults).url, *told, scenes=4), tmp_path / "mixed")
    lost = Counter(drop.stage for drop in phased.records("drops", Drop) if drop.reason == "call-failed")
    assert lost["think"]
    assert lost["think_harder"]
    assert tables(phased) == tables(mixed)
    assert card.loaded == list(MODELS)
    seen = Counter(r["digest"] for r in card.asked() if r["model"] != "asker")
    assert set(seen.values()) == {1}


def test_in_rounds_each_model_is_loaded_again(start_sim, card: Card, tmp_path: Path):
    phased = synthesize(card.recipe("run.round=2"), tmp_path / "phased")
    assert card.loaded == [*MODELS, *MODELS]
    assert tables(phased) == tables(synthesize(small_recipe(start_sim().url), tmp_path / "mixed"))


def test_what_was_interrupted_goes_on_and_loads_only_what_it_needs(start_sim, card: Card, tmp_path: Path):
    synthesize(card.recipe(), tmp_path / "run", until="think")
    assert card.loaded == ["asker", "student"]
    run = synthesize(card.recipe(), tmp_path / "run")
    assert card.loaded == list(MODELS), "the first two were not needed again"
    assert tables(run) == tables(synthesize(small_recipe(start_sim().url), tmp_path / "mixed"))


def test_a_limit_wants_rounds_and_holds_within_them(card: Card, tmp_path: Path):
    with pytest.raises(UserError, match=r"run\.round"):
        synthesize(card.recipe(), tmp_path / "run", means=Means(tokens=1000))
    made = synthesize(card.recipe("run.round=1", scenes=8), tmp_path / "run", means=Means(tokens=60_000))
    state = State.of_run(made)
    assert state
    assert not state.complete
    assert 0 < state.images < 8
    spent = sum(int(str(r["prompt_tokens"])) + int(str(r["completion_tokens"])) for r in card.asked())
    assert spent <= 60_000


def test_a_model_that_cannot_be_loaded_ends_the_run_and_what_was_answered_is_kept(card: Card, tmp_path: Path):
    broken = "models.student.launch='false'"
    with pytest.raises(ModelError, match="ended by itself"):
        synthesize(card.recipe(broken), tmp_path / "run")
    synthesize(card.recipe(), tmp_path / "run")
    assert card.loaded == list(MODELS), "the asker was loaded once for both"


def test_stages_that_need_one_server_are_carried_out_together(card: Card):
    def stages(*overrides: str) -> list[tuple[str, ...]]:
        return [phase.stages for phase in phases(card.recipe(*overrides), "think_harder")]

    same = card.launches("one")
    assert stages() == [("ask",), ("think",), ("think_harder",)]
    assert stages('run.schedule="mixed"') == [("ask", "think", "think_harder")]
    assert stages(f"models.asker.launch='{same}'", f"models.student.launch='{same}'") == [
        ("ask", "think"),
        ("think_harder",),
    ]
    assert stages('think_harder.model="asker"') == [("ask",), ("think",), ("think_harder",)]
    assert stages('think_harder.model="student"') == [("ask",), ("think", "think_harder")]


def test_checks_and_the_doctor_launch_one_server_at_a_time_too(start_sim, card: Card, tmp_path: Path):
    checks = ('verify.blind.model="student"', 'verify.consistency.model="asker"', 'verify.disagree.model="student"')
    run = synthesize(card.recipe(*checks), tmp_path / "run")
    loaded = len(card.loaded)
    verify(run)
    assert card.loaded[loaded:] == ["student", "asker"]
    mixed = synthesize(small_recipe(start_sim().url, *checks), tmp_path / "mixed")
    verify(mixed)
    assert mixed.table_path("judgements").read_bytes() == run.table_path("judgements").read_bytes()

    checkups = asyncio.run(examine(card.recipe().models, tmp_path, one_server=True))
    assert list(checkups) == list(MODELS)
    assert {checkup.findings["reachable"].can for checkup in checkups.values()} == {"yes"}
