"""The authors' recorded outputs, as an ordinary run: what real models wrote, graded and composed by us.

Reads the folder layout of the published example outputs: captions (`docci_descriptions.jsonlines`), questions
(`docci_mcq.csv`), simple thoughts with the presentation that they answered (`stage_2_simple_cot/…/*.jsonl`) and
continuations (`stage_3_expand_cot/…/CUE_0_500.jsonl`). What does not join is a drop with its reason.

The published code lower-cased each thought before it was handed on. Here a continuation is joined to the thought as
the student wrote it, so no prefix is lower-cased; where lower case leaked into the continuation itself, the filter
`case` finds it.
"""

import csv
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from lpt.captions.base import Bad, Fault
from lpt.captions.lines import objects
from lpt.captions.paths import locate, read_file, shown
from lpt.captions.pixels import MAX_BYTES
from lpt.errors import SourceError, UserError
from lpt.imports import presented
from lpt.recipe import Recipe
from lpt.records import Caption, Drop, LongThought, Question, Thought, digest
from lpt.settings import BudgetSettings, CaptionSettings
from lpt.store.run import Run
from lpt.store.tables import TABLES
from lpt.synthesis import grade
from lpt.synthesis.think import useless as useless_thought
from lpt.synthesis.think_harder import continuation
from lpt.synthesis.think_harder import useless as useless_long

CAPTIONS = "docci_descriptions.jsonlines"
QUESTIONS = "docci_mcq.csv"
THOUGHTS = "stage_2_simple_cot"
LONG_THOUGHTS = "stage_3_expand_cot"

_CUE_FILE = re.compile(r"(?P<cue>.+)_\d+_\d+")
_END_OF_TURN = "<|im_end|>"


class Tables(msgspec.Struct):
    """What was read, in the order of the files."""

    captions: list[Caption] = []
    questions: list[Question] = []
    thoughts: list[Thought] = []
    long_thoughts: list[LongThought] = []
    drops: list[Drop] = []


class _Asked(NamedTuple):
    question: Question
    thoughts: list[Thought]


def import_published(folder: str | Path, out: str | Path, images: str | Path | None = None) -> Run:
    """Make a run of the authors' recorded outputs. `compose` makes its sets.

    Args:
        folder: where the recorded outputs are.
        out: the run folder to make.
        images: the image files, named as in the captions. Without them an image is known by its recorded name only,
            and a warning says so.

    Raises:
        UserError: a file is missing, or is not what it should be.
    """
    folder, out = Path(folder), Path(out)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: give the one that holds {CAPTIONS}, {QUESTIONS} and the stages")
    root = None if images is None else Path(images)
    if root is not None and not root.is_dir():
        raise UserError(f"--images {root} is not a folder")
    recipe = Recipe(
        captions=CaptionSettings(
            source="published",
            path=str(folder.resolve()),
            images=None if root is None else str(root.resolve()),
        ),
        budget=BudgetSettings(mode="exhaustive"),
    )
    tables = read(folder, root, recipe)
    run = Run.create(out, recipe)
    with run.writing() as writing:
        writing.take_away("sft", "preferences")
        for name, kind in TABLES.items():
            if hasattr(tables, name):
                writing.open(name, kind).write(_ordered(getattr(tables, name)))
    return run


def read(folder: Path, images: Path | None, recipe: Recipe) -> Tables:
    """Read everything that was recorded."""
    tables = Tables()
    captions = _captions(folder, images, recipe, tables)
    rows = _questions(folder, tables)
    asked = _thoughts(folder, rows, captions, tables)
    _long_thoughts(folder, asked, tables)
    return tables


def _ordered(records: list[Any]) -> list[Any]:
    return sorted(records, key=lambda record: record.image)  # stable: within an image as recorded


def _captions(folder: Path, images: Path | None, recipe: Recipe, tables: Tables) -> dict[str, Caption]:
    found: dict[str, Caption] = {}
    nameless = 0
    real = os.path.realpath(images or folder)
    for row in _lines(folder / CAPTIONS):
        name, file, text = row.get("example_id"), row.get("image_file"), row.get("description")
        if not isinstance(name, str) or not isinstance(file, str) or not isinstance(text, str) or not text.strip():
            named = (shown(part) if isinstance(part, str) else "" for part in (name, file))
            tables.drops.append(Drop.make("captions", next(named), "", "empty-caption", next(named)))
            continue
        if images is None:
            image = digest("image name", name)
            nameless += 1
        else:
            place = locate(images, file)
            data = place if isinstance(place, Fault) else read_file(place[0], real, MAX_BYTES, "image")
            if isinstance(data, Fault):
                tables.drops.append(Drop.make("captions", name, "", data.reason, shown(file)))
                continue
            image = digest("image", data)  # as captions are taken in
        found[name] = Caption.make(
            image=image,
            path=file,
            text=text.strip(),
            source="published",
            source_id=name,
            seed=recipe.seed,
            validation=recipe.curate.validation,
        )
    if nameless:
        warnings.warn(
            f"no image files were given (--images): {nameless} images are known by their recorded names only, "
            "so the sets can be looked at and counted, but not trained on",
            stacklevel=4,
        )
    tables.captions = list(found.values())
    return found


def _questions(folder: Path, tables: Tables) -> dict[str, dict[str, str]]:
    path = folder / QUESTIONS
    if not path.is_file():
        raise SourceError(f"{path} is missing: it holds the questions")
    csv.field_size_limit(2**31 - 1)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    needed = {"image_id", "mcq_question", "mcq_choices", "mcq_answer", "mcq_question_type", "mcq_unique_id"}
    if rows and not needed <= rows[0].keys():
        raise SourceError(f"{path} has no column {', '.join(sorted(needed - rows[0].keys()))}")
    whole = {}
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():  # longer or shorter than the header
            tables.drops.append(
                Drop.make("ask", f"row {number}", "", "malformed-csv", f"{QUESTIONS}, row {number}")
            )
        else:
            whole[row["mcq_unique_id"]] = row
    return whole


def _thoughts(
    folder: Path, rows: dict[str, dict[str, str]], captions: dict[str, Caption], tables: Tables
) -> dict[str, _Asked]:
    """Questions as they were shown, and the simple thoughts on them."""
    recorded: dict[str, dict[str, Any]] = {}
    for path in _stage(folder, THOUGHTS):
        for number, row in enumerate(_lines(path)):
            key = _unique_id(row)
            if key in rows and key not in recorded:
                recorded[key] = row
            else:
                reason = "no-such-question" if key not in rows else "shown-twice"
                tables.drops.append(Drop.make("think", str(key), "", reason, path.name, index=number))
    asked: dict[str, _Asked] = {}
    places: dict[str, int] = {}
    for key, row in rows.items():
        caption = captions.get(row["image_id"])
        if caption is None:
            tables.drops.append(Drop.make("ask", key, "", "no-such-caption", row["image_id"]))
            continue
        index = places[caption.id] = places.get(caption.id, -1) + 1
        if key not in recorded:
            tables.drops.append(Drop.make("ask", caption.id, caption.image, "never-shown", key, index=index))
            continue
        shown = presented.read(recorded[key].get("prompt"), row)
        if isinstance(shown, str):
            tables.drops.append(Drop.make("ask", caption.id, caption.image, shown, key, index=index))
            continue
        question = Question(
            id=digest("question", caption.id, index, shown.stem, *shown.options, shown.answer),
            caption=caption.id,
            image=caption.image,
            index=index,
            stem=shown.stem,
            options=shown.options,
            answer=shown.answer,
            kind=presented.kind(row["mcq_question_type"]),
            answer_format=shown.answer_format,
            system=shown.system,
            prompt=shown.prompt,
            reply=None,
            split=caption.split,
        )
        tables.questions.append(question)
        texts = recorded[key].get("predict")
        thoughts = [_thought(question, i, text) for i, text in enumerate(texts if isinstance(texts, list) else [])]
        tables.thoughts += thoughts
        tables.drops += [drop for thought in thoughts if (drop := useless_thought(thought))]
        asked[key] = _Asked(question, thoughts)
    return asked


def _thought(question: Question, index: int, recorded: object) -> Thought:
    text = str(recorded).removesuffix(_END_OF_TURN)
    graded = grade.grade(text, question.letters, answer=question.answer, format=question.answer_format)
    return Thought(
        id=digest("thought", question.id, index, text),
        question=question.id,
        image=question.image,
        index=index,
        text=text,
        thought=grade.split_thought(text)[0].strip(),
        answer=grade.answer_text(text),
        letter=graded.letter,
        method=graded.method,
        verdict=graded.verdict,
        format_ok=graded.format_ok,
        finish_reason=_finish(text),
        reply=None,
        split=question.split,
    )


def _finish(text: str) -> str:
    """Why a reply ended was not recorded: one that ends in an answer had ended, another was cut."""
    return "stop" if "</answer" in text else "length"


def _long_thoughts(folder: Path, asked: dict[str, _Asked], tables: Tables) -> None:
    for path in _stage(folder, LONG_THOUGHTS):
        name = _CUE_FILE.fullmatch(path.stem)
        cue = name["cue"] if name else path.stem
        taken: set[str] = set()
        for number, row in enumerate(_lines(path)):
            key = _unique_id(row)
            on = asked.get(key) if key else None
            if on is None:
                tables.drops.append(
                    Drop.make("think_harder", str(key), "", "no-such-question", path.name, index=number)
                )
                continue
            texts = row.get("predict")
            texts = texts if isinstance(texts, list) else []
            thought = _continued(str(row.get("simple_cot")), on.thoughts, taken)
            if thought is None:
                tables.drops += [
                    Drop.make(
                        "think_harder",
                        on.question.id,
                        on.question.image,
                        "no-such-thought",
                        f"{path.name}, line {number + 1}",
                        index=index,
                    )
                    for index in range(len(texts))
                ]
                continue
            taken.add(thought.id)
            for index, text in enumerate(texts):
                long = _long_thought(thought, on.question, cue, index, str(text))
                if isinstance(long, LongThought):
                    tables.long_thoughts.append(long)
                    tables.drops += [drop] if (drop := useless_long(long)) else []
                else:
                    tables.drops.append(
                        Drop.make("think_harder", thought.id, thought.image, long, cue, index=index)
                    )


def _continued(handed: str, thoughts: list[Thought], taken: set[str]) -> Thought | None:
    """The thought that was handed on: it ends the turn, lower-cased, after words that the published code put first.

    Of several that fit (one may end as another does), the longest; of equal ones, the first that is not taken.
    """
    fitting = [t for t in thoughts if t.thought and handed.lower().endswith(t.thought.lower())]
    fitting.sort(key=lambda t: (-len(t.thought), t.id in taken, t.index))
    return fitting[0] if fitting else None


def _long_thought(thought: Thought, question: Question, cue: str, index: int, recorded: str) -> LongThought | str:
    """One continuation; a reason where it cannot be read. The record holds joint and cue before what was said."""
    joint, found, text = recorded.partition(cue)
    if not found or joint.strip(" \n.") or not thought.thought:
        return "no-cue"
    text = text.removesuffix("<｜end▁of▁sentence｜>")  # noqa: RUF001 (the reasoner's own token)
    whole = f"<think> {thought.thought}{joint}{cue}{text}"
    graded = grade.grade(whole, question.letters, answer=question.answer, format=question.answer_format)
    return LongThought(
        id=digest("long thought", thought.id, cue, "student", index, text),
        thought=thought.id,
        question=question.id,
        image=question.image,
        cue=cue,
        index=index,
        prefix=thought.thought,
        joint=joint,
        text=text,
        continuation=continuation(text, after=cue),
        answer=grade.answer_text(whole),
        letter=graded.letter,
        method=graded.method,
        before=thought.verdict,
        verdict=graded.verdict,
        format_ok=graded.format_ok,
        finish_reason=_finish(text),
        instructed=False,
        reply=None,
        split=question.split,
    )


def _stage(folder: Path, stage: str) -> list[Path]:
    files = sorted((folder / stage).rglob("*.jsonl"))
    if not files:
        raise SourceError(f"{folder / stage} is missing or holds no .jsonl file")
    return files


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise SourceError(f"{path} is missing, or no file")
    for _, row in objects(path):
        if isinstance(row, Bad):
            raise SourceError(f"{path}, {row.detail}")
        yield row


def _unique_id(row: dict[str, Any]) -> str | None:
    """The question's id: the stages wrapped it more or less deeply."""
    inner: object = row
    while isinstance(inner, dict):
        if isinstance(key := inner.get("mcq_unique_id"), str):
            return key
        inner = inner.get("metadata")
    return None
