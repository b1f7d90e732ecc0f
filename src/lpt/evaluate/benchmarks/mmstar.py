"""MMStar, and its three visual categories (MMStar-V). Options stand in the question, in mixed styles."""

from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec.structs import replace

from lpt.evaluate import options, rows
from lpt.evaluate.benchmark import Benchmark
from lpt.evaluate.items import Item
from lpt.evaluate.metrics import MICRO, Metric
from lpt.records import LETTERS

VISUAL = ("coarse perception", "fine-grained perception", "instance reasoning")


def reader(categories: tuple[str, ...] | None) -> Callable[[Path], Iterator[Item]]:
    """The rows of these categories; all, for None."""

    def read(folder: Path) -> Iterator[Item]:
        for row in rows.read(rows.find(folder, "**/*.parquet", "**/*.jsonl", "**/*.tsv")):
            category = row.text("category")
            if categories is None or category in categories:
                yield _item(row, category)

    return read


def _item(row: rows.Row, category: str) -> Item:
    question = row.text("question")
    found = options.split(question)
    note = {"l2_category": row.optional("l2_category")}
    if found is None:  # shown as it is, options and all; the letters alone are graded
        found = options.Split(question, tuple(LETTERS[:4]))
        note["options"] = "in the question"
    return Item(
        id=row.text("index"),
        question=found.stem,
        options=_without_nan(found.options),
        truth=rows.letter(row, "answer", count=len(_without_nan(found.options))),
        category=category,
        media=(row.media("image"),),
        note=note,
    )


def _without_nan(found: tuple[str, ...]) -> tuple[str, ...]:
    """Options without those at the end that stand for none; one between others keeps its letter."""
    kept = list(found)
    while len(kept) > 2 and kept[-1].strip().lower() in {"nan", "none given", ""}:
        kept.pop()
    return tuple(kept)


_MACRO = Metric(name="macro", kind="macro", about="mean over the categories")

BENCHMARK = Benchmark(
    name="mmstar",
    title="MMStar",
    hub="Lin-Chen/MMStar",
    files=("mmstar.parquet", "*.parquet"),
    split="val",
    licence="see its card",
    count=1500,
    metrics=(_MACRO, MICRO),
    read=reader(None),
)
VISUAL_PART = replace(
    BENCHMARK,
    name="mmstar-v",
    title="MMStar-V",
    split="val: coarse perception, fine-grained perception, instance reasoning",
    count=750,
    read=reader(VISUAL),
)
