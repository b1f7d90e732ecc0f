"""A run folder: where everything about one run is.

```
RUN/recipe.toml      the recipe, resolved
RUN/ledger.sqlite    every request and reply (unless the recipe names a shared one)
RUN/images/          rendered scenes, and images that came as bytes or from merged runs
RUN/tables/          Parquet: captions, questions, thoughts, long_thoughts, drops, judgements, sft,
                     preferences; and manifest.json, which says what each should be
RUN/finished.….sqlite, RUN/intake.sqlite    what need not be done again; may be deleted
RUN/exports/         what was written for other tools
RUN/logs/            of launched servers and of the run itself
```
"""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import polars as pl

from lpt.errors import RunError
from lpt.recipe import Recipe
from lpt.records import Caption, Drop, Example, LongThought, Pair, Question, Thought
from lpt.settings import KEPT
from lpt.store import manifest
from lpt.store.tables import TABLES, Tables, empty_frame, read_table, scan_table

Record = TypeVar("Record", bound=msgspec.Struct)


class Run:
    """A run folder that exists. Reading one needs no model and takes no lock."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path = path
        self.recipe = recipe

    @staticmethod
    def create(path: str | Path, recipe: Recipe) -> "Run":
        """Make the folder, or take an existing one over with this recipe: what the ledger knows stays known.

        Raises:
            RunError: it is a file, it holds something else, or it cannot be written.
        """
        path = Run.folder(path)
        try:
            part = path / ".recipe.toml.part"
            part.write_text(recipe.toml(), encoding="utf-8")
            part.replace(path / "recipe.toml")
            for folder in ("tables", "logs", "exports"):
                (path / folder).mkdir(exist_ok=True)
            manifest.settle(path / "tables")
        except OSError as error:
            advice = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose another --out"
            raise RunError(f"the run {path} cannot be written ({error.strerror}): {advice}") from error
        return Run(path, recipe)

    @staticmethod
    def folder(path: str | Path) -> Path:
        """A folder that a run may have: made if it is not there, refused if it holds something else.

        Raises:
            RunError: it is a file, it holds something else, or it cannot be made.
        """
        path = Path(path)
        if path.exists() and not path.is_dir():
            raise RunError(f"{path} is a file; a run is a folder: choose another --out")
        try:
            path.mkdir(parents=True, exist_ok=True)
            held = {entry.name for entry in path.iterdir()}
        except OSError as error:
            raise RunError(f"the folder {path} cannot be used ({error.strerror}): choose another --out") from error
        if held - {".lock", ".recipe.toml.part"} and "recipe.toml" not in held:
            raise RunError(f"{path} is not empty and not a run: choose another --out, or empty it")
        return path

    @staticmethod
    def open(path: str | Path) -> "Run":
        """Open a run that is there.

        Raises:
            RunError: no such folder, or it is not a run.
        """
        path = Path(path)
        if not (path / "recipe.toml").exists():
            what = "is not a run: it has no recipe.toml" if path.exists() else "does not exist"
            raise RunError(f"{path} {what}. `lpt run RECIPE --out {path}` makes one")
        return Run(path, Recipe.load(path / "recipe.toml"))

    @property
    def ledger_path(self) -> Path:
        """Where the ledger is: the recipe's shared one, or the run's own."""
        return Path(self.recipe.ledger) if self.recipe.ledger else self.path / "ledger.sqlite"

    @property
    def images(self) -> Path:
        """The root that captions' image paths are relative to."""
        captions = self.recipe.questions or self.recipe.captions
        if captions.source in KEPT:
            return self.path / "images"
        if captions.images:
            return Path(captions.images)
        if captions.path is None:
            return self.path / "images"
        path = Path(captions.path)
        if captions.source == "docci":
            return (path if path.is_dir() else path.parent) / "images"
        return path if path.is_dir() else path.parent

    @property
    def tables(self) -> Path:
        """The folder of the tables."""
        return self.path / "tables"

    def table_path(self, name: str) -> Path:
        """Where a table is, or would be.

        Raises:
            StoreError: it is torn.
        """
        return self._there(name) or manifest.usual(self.tables, name)

    def _there(self, name: str) -> Path | None:
        return manifest.where(self.tables, name, manifest.load(self.tables))

    def writing(self) -> Tables:
        """Write tables that belong together, all put in place at one moment."""
        return Tables(self.tables)

    def has(self, name: str) -> bool:
        """Whether a table has been written."""
        return self._there(name) is not None

    def outdated(self) -> bool:
        """Whether the sets were made from tables that say something else now: a run was stopped before it composed.

        Raises:
            StoreError: the manifest is damaged.
        """
        entries = manifest.load(self.tables)
        return any(manifest.outdated(name, entries) for name in ("sft", "preferences"))

    def table(self, name: str) -> pl.LazyFrame:
        """A table to query; one without rows where it has not been written.

        Raises:
            StoreError: it is torn.
        """
        path = self._there(name)
        return scan_table(path, TABLES[name]) if path else empty_frame(TABLES[name]).lazy()

    def records(self, name: str, kind: type[Record]) -> Iterator[Record]:
        """A table's records, in its order; none where it has not been written.

        Raises:
            StoreError: it is torn.
        """
        path = self._there(name)
        if path:
            yield from read_table(path, kind)

    def captions(self) -> Iterator[Caption]:
        """What came in: one record an image."""
        return self.records("captions", Caption)

    def questions(self) -> Iterator[Question]:
        """What was asked about the images."""
        return self.records("questions", Question)

    def thoughts(self) -> Iterator[Thought]:
        """What the student thought, graded."""
        return self.records("thoughts", Thought)

    def long_thoughts(self) -> Iterator[LongThought]:
        """What the reasoner made of the student's thoughts, graded."""
        return self.records("long_thoughts", LongThought)

    def drops(self) -> Iterator[Drop]:
        """What left on the way, each with its stage and reason."""
        return self.records("drops", Drop)

    def sft(self) -> Iterator[Example]:
        """The SFT set, once composed."""
        return self.records("sft", Example)

    def preferences(self) -> Iterator[Pair]:
        """The preference set, once composed."""
        return self.records("preferences", Pair)

    def replies(self, name: str) -> pl.LazyFrame:
        """The ledger's keys of the replies behind a table: `question` that each is about, `reply`; each once.

        Those that a long thought begins with, and that were cut, are among them.
        """
        owner = "id" if name == "questions" else "question"
        rows = self.table(name)
        parts = [rows.select(owner, "reply")]
        if name == "long_thoughts":
            parts.append(rows.select(owner, reply="cut").explode("reply", empty_as_null=False))
        return (
            pl.concat(parts)
            .drop_nulls()
            .unique("reply", maintain_order=True)
            .rename({owner: "question"}, strict=False)
        )

    def failed_calls(self) -> int:
        """How many samples the run lacks because a call failed: asking again may bring them."""
        failed = self.table("drops").filter(pl.col("reason") == "call-failed").select(pl.len())
        return int(failed.collect().item())
