"""Partitions, gathered, are the run that one process makes; what a killed one published is not asked again."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from lpt.cluster.gather import gather
from lpt.cluster.place import Remote, open_place
from lpt.cluster.published import Claim, Published
from lpt.cluster.worker import Job, work
from lpt.curate.compose import compose
from lpt.errors import RunError
from lpt.partition import Partition
from lpt.pipeline import synthesize
from lpt.recipe import Recipe
from lpt.store.run import Run
from tests.conftest import MODELS, Sim, small_recipe
from tests.crash.nodes import published

OF = 3


def job(recipe: Recipe, out: Path | str, index: int, of: int = OF) -> Job:
    return Job(recipe=recipe, place=str(out), index=index, of=of, slot=index, workers=of)


def tables(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "tables").iterdir())}


def lpt(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lpt", *map(str, words)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory):
    """What a single process makes of the small recipe: its tables and sets."""
    from tests.conftest import simulate

    folder = tmp_path_factory.mktemp("one")
    with simulate(folder / "requests.jsonl") as server:
        compose(synthesize(small_recipe(server.url, scenes=2), folder / "run"))
    return tables(folder / "run")


def test_gathered_partitions_are_the_run_that_one_process_makes(sim: Sim, tmp_path: Path, one: dict[str, bytes]):
    recipe = small_recipe(sim.url, scenes=2)
    for index in (2, 0, 1):
        work(job(recipe, tmp_path / "run", index))
    asked = len(sim.requests())
    compose(gather(tmp_path / "run").run)
    assert tables(tmp_path / "run") == one
    # A usual run from here on: what it is asked again, its ledger knows.
    synthesize(recipe, tmp_path / "run")
    assert len(sim.requests()) == asked


def test_a_finished_partition_is_not_worked_on_again(sim: Sim, tmp_path: Path):
    recipe = small_recipe(sim.url, scenes=2)
    done = work(job(recipe, tmp_path / "run", 0, of=1))
    asked = len(sim.requests())
    assert work(job(recipe, tmp_path / "run", 0, of=1)) == done
    more = msgspec.structs.replace(recipe, think=msgspec.structs.replace(recipe.think, samples=3))  # type: ignore[type-var]
    work(job(more, tmp_path / "run", 0, of=1))
    digests = Counter(str(line["digest"]) for line in sim.requests()[asked:])
    assert not digests.keys() & {str(line["digest"]) for line in sim.requests()[:asked]}


def test_gathering_says_what_is_missing_and_makes_nothing(sim: Sim, tmp_path: Path):
    recipe = small_recipe(sim.url, scenes=2)
    work(job(recipe, tmp_path / "run", 1))
    with pytest.raises(RunError, match=r"2 of 3 partitions .* not finished:\n  0/3: not begun\n  2/3: not begun"):
        gather(tmp_path / "run")
    assert not Run.open(tmp_path / "run").has("captions")
    with pytest.raises(RunError, match="was begun in 3 partitions"):
        work(job(recipe, tmp_path / "run", 0, of=2))


def test_partitions_of_two_recipes_are_not_gathered(sim: Sim, tmp_path: Path):
    recipe = small_recipe(sim.url, scenes=2)
    work(job(recipe, tmp_path / "run", 0, of=2))
    work(job(msgspec.structs.replace(recipe, seed=1), tmp_path / "run", 1, of=2))
    with pytest.raises(RunError, match=r"1 of 2 partitions .* were made with another recipe"):
        gather(tmp_path / "run")


def test_a_killed_partition_goes_on_elsewhere_from_what_was_published(start_sim, tmp_path: Path, one):
    server = start_sim("--dial", "latency=0.05")
    narrow = [f"models.{name}.concurrency=4" for name in MODELS]
    recipe = small_recipe(server.url, "cluster.publish=0.05", *narrow, scenes=2)
    (tmp_path / "recipe.toml").write_text(recipe.toml())
    run = tmp_path / "run"
    words = ["run", tmp_path / "recipe.toml", "--out", run, "--partition", "0/1"]
    command = [sys.executable, "-m", "lpt", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
        folder = run / "partitions" / "0000-of-0001" / "pieces"
        while child.poll() is None and len(list(folder.glob("*.piece"))) < 3:
            pass
        child.kill()
    pieces = {path.name: path.read_bytes() for path in folder.glob("*.piece")}
    assert len(pieces) >= 3
    assert not (folder.parent / "done.json").exists()
    known = published(run, tmp_path / "known")
    start = len(server.requests())
    (folder / f"000099-{0:032}.piece").write_bytes(b"half a pie")
    said: list[str] = []
    work(job(recipe, run, 0, of=1), say=said.append)
    assert any("replies of earlier attempts are known" in line for line in said)
    assert known
    assert not known & {(line["model"], line["seed"]) for line in server.requests()[start:]}
    assert any("1 pieces are torn" in line for line in said), said
    assert {path.name: path.read_bytes() for path in folder.glob("*.piece")}.items() >= pieces.items()
    compose(gather(run).run)
    assert tables(run) == one


def test_who_lost_the_claim_publishes_nothing_more(sim: Sim, tmp_path: Path):
    place = open_place(tmp_path / "run")
    folder = Published(place, Partition(0, 1))
    first = folder.take(over=False, say=lambda _: None)
    second = folder.take(over=True, say=lambda _: None)
    assert not folder.holds(first)
    folder.release(first)
    assert folder.holds(second)


def test_a_partition_that_gives_signs_of_life_is_left_alone(tmp_path: Path):
    folder = Published(open_place(tmp_path / "run"), Partition(0, 1))
    folder.write("claim.json", Claim("another", "elsewhere", 1))

    def alive(_: float) -> None:
        (tmp_path / "run" / folder.folder / "progress.json").write_text(
            '{"state":"running","who":"process 1 on elsewhere","beat":7}'
        )

    with pytest.raises(RunError, match="is being worked on by process 1 on elsewhere"):
        folder.take(over=False, say=lambda _: None, sleep=alive)
    assert folder.take(over=False, say=lambda _: None, sleep=lambda _: None).token != "another"


def test_a_run_behind_a_url_is_gathered_into_a_folder(sim: Sim, tmp_path: Path, one: dict[str, bytes]):
    pytest.importorskip("fsspec")
    recipe = small_recipe(sim.url, scenes=2)
    url = (tmp_path / "bucket").as_uri()
    assert isinstance(open_place(url), Remote)
    work(job(recipe, url, 0, of=1))
    compose(gather(url, tmp_path / "here").run)
    assert tables(tmp_path / "here") == one


def test_status_sums_over_partitions_until_they_are_gathered(sim: Sim, tmp_path: Path):
    (tmp_path / "recipe.toml").write_text(small_recipe(sim.url, scenes=2).toml())
    first = lpt("run", tmp_path / "recipe.toml", "--out", tmp_path / "run", "--partition", "0/2")
    assert first.returncode == 0, first.stderr
    said = msgspec.json.decode(lpt("status", tmp_path / "run", "--json").stdout)
    assert said["states"] == {"finished": 1, "missing": 1}
    assert said["images"]["arrived"] == said["by_partition"][0]["images"]
    refused = lpt("gather", tmp_path / "run")
    assert refused.returncode == 2
    assert "1 of 2 partitions" in refused.stderr
    work(job(Recipe.load(tmp_path / "recipe.toml"), tmp_path / "run", 1, of=2))
    gathered = lpt("gather", tmp_path / "run")
    assert gathered.returncode == 0, gathered.stderr
    after = msgspec.json.decode(lpt("status", tmp_path / "run", "--json").stdout)
    assert after["complete"]
    assert after["images"] == {"arrived": 2, "of": 2}
