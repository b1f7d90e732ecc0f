"""Training sets that others composed, as a run that has sets and nothing before them.

A row becomes an example or a pair. Its image and, where it is a multiple-choice one, its question are told as far
as they can be read from it; thoughts cannot be: who wrote which part of a finished turn is not recorded.
"""

import re
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from lpt.captions.base import Fault
from lpt.captions.paths import locate, read_file, shown
from lpt.captions.pixels import MAX_BYTES
from lpt.imports import presented
from lpt.imports.conversations import Turns
from lpt.recipe import Recipe
from lpt.records import Caption, Drop, Example, Pair, Question, Split, Stage, digest
from lpt.settings import CaptionSettings
from lpt.store.run import Run
from lpt.synthesis import grade

_TABLES: dict[str, Any] = {
    "captions": Caption,
    "questions": Question,
    "drops": Drop,
    "sft": Example,
    "preferences": Pair,
}
_THINK = re.compile(r"<think(?:ing)?>", re.IGNORECASE)


class Imported(msgspec.Struct, frozen=True):
    """A run that was imported, and what a person should know of it."""

    run: Run
    remarks: tuple[str, ...]


class Importer:
    """Takes rows in, one at a time, and writes the tables of a run when it is closed."""

    def __init__(self, source: str, path: Path, root: Path, out: str | Path, *, named: bool) -> None:
        self.recipe = Recipe(captions=CaptionSettings(source=source, path=str(path), images=str(root)))
        self.run = Run.create(out, self.recipe)
        self.remarks: Counter[str] = Counter()
        self._root = root
        self._named = named  # an image without a file goes by its name
        self._images: dict[str, tuple[str, Split, str] | str] = {}
        self._seen: set[str] = set()
        self._tables = self.run.writing()
        self._tables.take_away("thoughts", "long_thoughts", "judgements")
        # In the order of all tables: by image, and within an image as the source has it.
        self._writers = {name: self._tables.open(name, kind, sort=("image",)) for name, kind in _TABLES.items()}

    def __enter__(self) -> "Importer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tables.__exit__(kind, error, trace)

    def drop(self, stage: Stage, place: str, reason: str, detail: str = "") -> None:
        """Leave a row out."""
        record = digest("row", self.recipe.captions.source, place)
        self._write("drops", Drop.make(stage, record, "", reason, f"{place}: {detail}" if detail else place))

    def example(self, place: str, turns: Turns, image: object, category: str, cue: str = "") -> None:
        """Take an SFT row in."""
        found = self._image(image)
        if isinstance(found, str) or not turns.said.strip():
            self.drop("sft", place, found if isinstance(found, str) else "nothing-said", shown(str(image)))
            return
        hash_, split, caption = found
        question = self._question(turns, found, grade.grade(turns.given + turns.said, _letters(turns)).letter)
        kind = "long" if _THINK.search(turns.given + turns.said) else "direct"
        source = digest("imported", caption, question, turns.system, turns.prompt, turns.given, turns.said)
        example = Example(
            id=digest("example", kind, source),
            set=kind,
            category=category,
            image=hash_,
            question=question,
            source=source,
            cue=cue,
            system=turns.system,
            prompt=turns.prompt,
            prefix=turns.given,
            target=turns.said,
            split=split,
        )
        self._once("sft", "sft", example.id, example, place)

    def pair(self, place: str, turns: Turns, chosen: str, rejected: str, image: object, category: str) -> None:
        """Take a preference row in."""
        found = self._image(image)
        reason = found if isinstance(found, str) else "sides-alike" if chosen == rejected else ""
        if reason or isinstance(found, str):
            self.drop("preferences", place, reason, shown(str(image)))
            return
        hash_, split, caption = found
        whole, other = turns.given + chosen, turns.given + rejected
        question = self._question(turns, found, grade.grade(whole, _letters(turns)).letter)
        sources = [
            digest("imported", caption, question, turns.system, turns.prompt, "", text) for text in (whole, other)
        ]
        pair = Pair(
            id=digest("pair", *sources),
            category=category,
            image=hash_,
            question=question,
            system=turns.system,
            prompt=turns.prompt,
            chosen=whole,
            rejected=other,
            chosen_source=sources[0],
            rejected_source=sources[1],
            shared=_THINK.sub("", turns.given, count=1).strip(),
            split=split,
        )
        self._once("preferences", "preferences", pair.id, pair, place)

    def _once(self, table: str, stage: Stage, id_: str, record: msgspec.Struct, place: str) -> None:
        if id_ in self._seen:
            self.drop(stage, place, "duplicate", "an earlier row says the same")
            return
        self._seen.add(id_)
        self._write(table, record)

    def _write(self, table: str, record: msgspec.Struct) -> None:
        self._writers[table].write([record])

    def _image(self, name: object) -> tuple[str, Split, str] | str:
        """An image's hash, split and caption; a reason, where it cannot be had."""
        if not isinstance(name, str) or not name.strip():
            return "no-image" if not name else "image-not-a-path"
        if name not in self._images:
            self._images[name] = self._look(name)
        return self._images[name]

    def _look(self, name: str) -> tuple[str, Split, str] | str:
        place = locate(self._root, name)
        data = (
            place
            if isinstance(place, Fault)
            else read_file(place[0], str(self._root.resolve()), MAX_BYTES, "image")
        )
        if isinstance(data, Fault):
            if not self._named or data.reason != "missing-image":
                return data.reason
            self.remarks["image files were not found: their rows are known by recorded names only"] += 1
        assert not isinstance(place, Fault)
        image = digest("image name", name) if isinstance(data, Fault) else digest("image", data)
        caption = Caption.make(
            image=image,
            path=place[1],
            text="",  # no such set says what its captions were
            source=self.recipe.captions.source,
            source_id=name,
            seed=self.recipe.seed,
            validation=self.recipe.curate.validation,
        )
        if caption.id not in self._seen:
            self._seen.add(caption.id)
            self._write("captions", caption)
        return image, caption.split, caption.id

    def _question(self, turns: Turns, image: tuple[str, Split, str], letter: str | None) -> str:
        """The id of a row's question, which becomes a record where it can be read."""
        hash_, split, caption = image
        id_ = digest("question", "imported", caption, turns.system, turns.prompt)
        if id_ in self._seen:
            return id_
        self._seen.add(id_)
        read = presented.read_prompt(turns.prompt, turns.system)
        reason = read if isinstance(read, str) else "answer-not-an-option" if letter is None else ""
        if isinstance(read, str) or letter is None:
            self._write("drops", Drop.make("ask", id_, hash_, reason, shown(turns.prompt)))
            return id_
        question = Question(
            id=id_,
            caption=caption,
            image=hash_,
            index=0,
            stem=read.stem,
            options=read.options,
            answer=letter,
            kind="other",
            answer_format=read.answer_format,
            system=turns.system,
            prompt=turns.prompt,
            reply=None,
            split=split,
        )
        self._write("questions", question)
        return id_


def _letters(turns: Turns) -> dict[str, str]:
    read = presented.read_prompt(turns.prompt, turns.system)
    return {} if isinstance(read, str) else read.letters
