"""Scenes-bench: questions about held-out scenes of our own world, in four kinds; no files, no download.

Every question is put once for each of its options, in the same words, with another picture each time, so an answer
without a picture is right exactly by chance: `blind_baseline` says how often, and a blank picture scores just that.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path

from lpt.evaluate.benchmark import Benchmark
from lpt.evaluate.items import Item, Media
from lpt.evaluate.metrics import MICRO, Metric
from lpt.records import LETTERS
from lpt.world.bench import KINDS, Asked, Probe, bench
from lpt.world.render import png

SEED = 0
SETS = 24


def items(seed: int = SEED, sets: int = SETS) -> Iterator[Item]:
    """The items of a seed: `sets` sets of each category, three times as many pairs. Pictures are `picture`'s."""
    return (item_of(probe, pictured=probe.scene is not None) for probe in _probes(seed, sets).values())


def picture(path: str, seed: int = SEED, sets: int = SETS) -> bytes:
    """The PNG of an item of that seed, by its path.

    Raises:
        KeyError: there is no such item.
    """
    probe = _probes(seed, sets)[path.removesuffix(".png")]
    if probe.scene is None:
        raise KeyError(path)
    return png(probe.scene, probe.scale)


@lru_cache(maxsize=4)
def _probes(seed: int, sets: int) -> dict[str, Probe]:
    return {probe.name: probe for probe in bench(seed, sets)}


def item_of(probe: Asked, *, pictured: bool) -> Item:
    """The item of a question of a bench; `pictured`: whether it has a picture, which is then called as it is."""
    stem = f"{probe.given}\n{probe.stem}" if probe.given else probe.stem
    return Item(
        id=probe.name,
        question=stem,
        options=probe.options,
        truth=LETTERS[probe.answer],
        category=probe.category,
        cluster=probe.cluster,
        media=(Media(path=f"{probe.name}.png"),) if pictured else (),
        note={"asked": probe.stem},
    )


def blind_baseline(asked: Iterable[Item]) -> dict[str, float]:
    """The most that whoever does not look can be right, by kind, by category, and `all`.

    It knows each question's words and options, and how often each of them is right in these very items, but neither
    the picture nor, of a question without one, what is given. That is an upper bound for any guess, however clever.
    """
    truths: dict[tuple[str, str, tuple[str, ...]], Counter[str]] = {}
    for item in asked:
        words = item.note.get("asked", item.question)
        truths.setdefault((item.category, words, item.options), Counter())[item.accepted[0]] += 1
    counted: dict[str, list[int]] = {}
    for (category, _, _), found in truths.items():
        for name in dict.fromkeys((category.split("/")[0], category, "all")):
            both = counted.setdefault(name, [0, 0])
            both[0] += max(found.values())
            both[1] += found.total()
    return {name: right / of for name, (right, of) in counted.items()}


def share_of(kind: str, about: str) -> Metric:
    """The share of one kind's items that are right."""
    return Metric(name=kind, kind="weighted", groups={kind: 1.0}, about=about)


def made(name: str, seed: int, sets: int) -> Benchmark:
    """The benchmark of another seed or size, for a `Benchmark` of one's own.

    Args:
        name: what it is called.
        seed: which questions.
        sets: how many sets of each category.
    """

    def read(_folder: Path) -> Iterator[Item]:
        return items(seed, sets)

    return Benchmark(
        name=name,
        title="Scenes-bench",
        split="held out",
        licence="MIT",
        metrics=(
            Metric(name="kinds", kind="macro", part=0, about="mean of the four kinds"),
            MICRO,
            *map(share_of, KINDS, ("as V*: small things in big pictures", "as CV-Bench", "as MMVP", "text alone")),
            Metric(name="sets", kind="cluster-all", about="sets with all right, as MMVP's authors count pairs"),
        ),
        make=partial(picture, seed=seed, sets=sets),
        caution="chance, and a blank picture's score, is .333 (small), .375 (cv), .5 (pairs), .167 (logic)",
        read=read,
    )


BENCHMARK = made("scenes-bench", SEED, SETS)
