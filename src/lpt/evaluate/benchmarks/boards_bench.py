"""Boards-bench: the miniature's examination, questions about held-out boards; no files, no download.

It is made as scenes-bench is: every question is put once for each of its options, with another board each time, so
whoever does not look is right exactly by chance. `boards-bench-blank` asks the same with gray pictures.
"""

import io
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path

from PIL import Image

from lpt.evaluate.benchmark import Benchmark
from lpt.evaluate.benchmarks.scenes import item_of, share_of
from lpt.evaluate.items import Item
from lpt.evaluate.metrics import MICRO, Metric
from lpt.world.boards.bench import FURTHER, KINDS, Probe, bench
from lpt.world.boards.board import SIDE
from lpt.world.boards.picture import CELL, png

SEED = 0
SETS = 12
SMALL_SETS = 4
_ABOUT = {
    "near": "as V*: hardly more than one cell matters",
    "far": "as CV-Bench: several cells must be put together",
    "pairs": "as MMVP: two boards that differ in one cell",
    "text": "text alone",
    "unseen": "questions that no long thought was made of",
    "dusk": "pictures of another style",
}


def items(seed: int = SEED, sets: int = SETS) -> Iterator[Item]:
    """The items of a seed: `sets` sets of each category, twice as many of pairs and of text.

    Their pictures are `picture`'s.
    """
    return (item_of(probe, pictured=probe.board is not None) for probe in _probes(seed, sets).values())


def picture(path: str, seed: int = SEED, sets: int = SETS, *, blank: bool = False) -> bytes:
    """The PNG of an item of that seed, by its path; `blank`: a gray one of the same size, whatever the item.

    Raises:
        KeyError: there is no such item.
    """
    probe = _probes(seed, sets)[path.removesuffix(".png")]
    if probe.board is None:
        raise KeyError(path)
    return _gray() if blank else png(probe.board, probe.grain, probe.style)


def _gray() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (SIDE * CELL, SIDE * CELL), (128, 128, 128)).save(out, "PNG")
    return out.getvalue()


@lru_cache(maxsize=4)
def _probes(seed: int, sets: int) -> dict[str, Probe]:
    return {probe.name: probe for probe in bench(seed, sets)}


def made(name: str, seed: int, sets: int, *, blank: bool = False) -> Benchmark:
    """The benchmark of another seed or size, for a `Benchmark` of one's own.

    Args:
        name: what it is called.
        seed: which questions.
        sets: how many sets of each category.
        blank: show a gray picture in place of each board: what a score is worth that nobody looked for.
    """

    def read(_folder: Path) -> Iterator[Item]:
        return items(seed, sets)

    return Benchmark(
        name=name,
        title="Boards-bench, blank" if blank else "Boards-bench",
        split="held out",
        licence="MIT",
        metrics=(
            Metric(
                name="kinds",
                kind="weighted",
                groups=dict.fromkeys(KINDS, 1.0),
                about=f"mean of {', '.join(KINDS)}",
            ),
            *(share_of(kind, _ABOUT[kind]) for kind in (*KINDS, *FURTHER)),
            MICRO,
            Metric(name="sets", kind="cluster-all", about="sets with all right"),
            Metric(
                name="both",
                kind="cluster-all",
                groups={"pairs": 1.0},
                about="pairs with both right, as MMVP's authors report",
            ),
        ),
        make=partial(picture, seed=seed, sets=sets, blank=blank),
        caution="chance, and a blank picture's score, is .25 (pairs: .5), so .3125 for `kinds`",
        read=read,
    )


BENCHMARK = made("boards-bench", SEED, SETS)
SMALL = made("boards-bench-small", SEED, SMALL_SETS)
BLANK = made("boards-bench-blank", SEED, SETS, blank=True)
