"""MME-RealWorld, its -Lite, and the part that the paper uses (MME-RW-V). Five options; E, "none", can be right."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec.structs import replace

from lpt.evaluate import rows
from lpt.evaluate.benchmark import Benchmark
from lpt.evaluate.items import Item
from lpt.evaluate.metrics import MICRO, Metric

_SHORT = {
    "remote sensing": "RS",
    "monitoring": "MO",
    "autonomous driving": "AD",
    "ocr with complex context": "OCR",
    "diagram and table": "DT",
}
PARTS = ("perception/RS", "perception/MO", "perception/AD", "reasoning/MO", "reasoning/AD")
"""What the V in MME-RW-V stands for."""


def reader(parts: tuple[str, ...] | None) -> Callable[[Path], Iterator[Item]]:
    """The rows of these parts; all, for None."""

    def read(folder: Path) -> Iterator[Item]:
        files = rows.find(folder, "**/MME_RealWorld*.json", "**/*.parquet", "**/*.json", "**/*.jsonl")
        english = [path for path in files if not re.search(r"_CN\b", path.stem)]
        for row in rows.read(english):
            item = _item(row)
            if parts is None or item.category in parts:
                yield item

    return read


def _item(row: rows.Row) -> Item:
    """A row of the raw JSON, or of the copies that evaluation harnesses use, whose fields have other names."""
    raw = "Question_id" in row.fields
    task = row.text("Task") if raw else row.text("category")
    subtask = row.text("Subtask") if raw else row.text("l2-category", "category")
    choices = tuple(_bare(text) for text in row.texts("Answer choices", "multi-choice options"))
    form = row.text("Question Type", "Question type") if raw else "Multiple Choice"
    image = row.media("Image", "bytes", "image")
    return Item(
        id=row.text("Question_id", "index"),
        question=row.text("Text", "question"),
        options=choices,
        truth=rows.letter(row, "Ground truth", "answer", count=len(choices)),
        category=f"{_task(task)}/{_part(f'{subtask} {task}')}",
        cluster=(image.path if raw else "") or "",
        media=(image,),
        note={"category": row.optional("Category"), "type": form},
    )


def _bare(option: str) -> str:
    return re.sub(r"^\s*\(?[A-J][).:]\s*", "", option).strip() or option


def _task(text: str) -> str:
    return "reasoning" if "reasoning" in text.lower() else "perception"


def _part(text: str) -> str:
    text = text.lower().replace("_", " ")
    found = next((short for name, short in _SHORT.items() if name in text), None)
    return found or text.split("/")[-1].strip().replace(" ", "-")


_MACRO = Metric(name="macro", kind="macro", about="mean over task and subtask")

BENCHMARK = Benchmark(
    name="mme-realworld",
    title="MME-RealWorld",
    hub="yifanzhang114/MME-RealWorld-Lmms-eval",
    files=("data/*.parquet", "*.parquet"),
    split="train",
    licence="academic use only",
    metrics=(MICRO, _MACRO),
    caution="for academic research only, by its own site",
    read=reader(None),
)
LITE = replace(
    BENCHMARK,
    name="mme-realworld-lite",
    title="MME-RealWorld-Lite",
    hub="yifanzhang114/MME-RealWorld-lite-lmms-eval",
)
VISUAL_PART = replace(
    BENCHMARK,
    name="mme-rw-v",
    title="MME-RW-V",
    split="English; perception of RS, MO, AD and reasoning on MO, AD",
    metrics=(
        Metric(name="macro", kind="weighted", groups=dict.fromkeys(PARTS, 0.2), about="mean over the 5 groups"),
        MICRO,
    ),
    read=reader(PARTS),
)
