"""What all exporters share: the walk over a run's sets, one row at a time, with nothing vanishing on the way."""

import typing
from collections.abc import Callable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from lpt.errors import StoreError, UserError
from lpt.exports.images import Images, Progress, copy_images
from lpt.exports.rows import RowFiles
from lpt.exports.turns import Choice, Turn, choice_of, turn_of
from lpt.records import Example, Pair
from lpt.store.run import Run

SETS = ("lpt_sft_long", "lpt_sft_simple", "lpt_sft_direct", "lpt_preferences")
SPLITS = ("train", "validation")

_REASONS = {
    "image-missing": "their image is not there (image-missing)",
    "image-unreadable": "their image cannot be read (image-unreadable)",
    "image-outside": "their image's path leaves the images folder (image-outside)",
    "template-refuses": "the chat template would change the words that are learnt (template-refuses)",
    "shared-differs": "the two sides of the pair do not begin with what they are said to share (shared-differs)",
}
_CALLED = {"sft": "SFT set", "preferences": "preference set"}

Shared: TypeAlias = Literal["prompt", "response"]
"""Where the wrong thought goes that both sides of an X→O pair begin with."""


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What an export wrote. Rows of the run's sets = the sum of `counts` + the sum of `skipped`."""

    files: tuple[Path, ...]
    """The files, without the images."""
    counts: dict[str, int]
    """Rows by set, such as lpt_sft_long_train; a set without rows has no file."""
    skipped: dict[str, int] = {}
    """Rows that could not be written, by reason."""
    images: int = 0
    """Image files that were written."""
    unseen: int = 0
    """Images without a file that rows refer to by their recorded names."""
    neutralised: int = 0
    """Rows with a text that spelt a token which a trainer would act on, and was given a space in it."""
    pushed: str = ""
    """Where it was pushed to."""
    empty: tuple[str, ...] = ()
    """Tables of the run that have no rows, where another one has."""

    def remarks(self) -> list[str]:
        """What a person should know beside the counts, a sentence each."""
        said = [f"the run's {_CALLED[name]} is empty: nothing was written of it" for name in self.empty]
        said += [f"{rows:,} rows were not written: {_REASONS.get(why, why)}" for why, rows in self.skipped.items()]
        if self.unseen:
            said.append(f"{self.unseen:,} images have no file: rows refer to them by their recorded names")
        if self.neutralised:
            said.append(f"{self.neutralised:,} rows spelt a special token, which was given a space: < image>")
        if self.pushed:
            said.append(f"pushed to {self.pushed}")
        return said


class Rows(Protocol):
    """How a format spells its rows."""

    def example(self, example: Example, turn: Turn, image: str) -> dict[str, Any]:
        """A row of an SFT set."""

    def pair(self, pair: Pair, choice: Choice, image: str) -> dict[str, Any]:
        """A row of a preference set."""


def export_rows(
    run: Run,
    out: Path,
    rows: Rows,
    kind: Literal["json", "jsonl"],
    *,
    allow_missing_images: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write the images and then every row of the run's sets, in the order of its tables.

    Raises:
        UserError: the run has no sets, or no images.
        StoreError: the disk failed.
    """
    empty = make_room(run, out)
    images = copy_images(run, out, allow_missing=allow_missing_images, progress=progress)
    with RowFiles(out, kind) as files:
        walked = walk(run, rows, images, files.write)
    for name in (f"{name}_{split}" for name in SETS for split in SPLITS):
        if name not in files.counts:
            files.path(name).unlink(missing_ok=True)  # an earlier export's
    return Exported(
        files=files.paths,
        counts=dict(sorted(files.counts.items())),
        skipped=walked.skipped,
        images=images.written,
        unseen=len(images.named),
        neutralised=walked.neutralised,
        empty=empty,
    )


def make_room(run: Run, out: Path) -> tuple[str, ...]:
    """See that the run has sets, and make the folder that they go to; which of the two tables has no rows.

    Raises:
        UserError: the run has no sets, or not one row in them, or they are out of date.
        StoreError: the disk failed.
    """
    if not run.has("sft") and not run.has("preferences"):
        raise UserError(f"{run.path} has no sets yet: `lpt compose {run.path}` makes them")
    if run.outdated():
        raise UserError(
            f"the sets of {run.path} are of earlier tables, which have been written anew since: "
            f"`lpt compose {run.path}` makes the sets anew"
        )
    empty = tuple(name for name in _CALLED if run.table(name).select("id").head(1).collect().is_empty())
    if len(empty) == len(_CALLED):
        raise UserError(
            f"there is nothing to export: the sets of {run.path} are empty. `lpt status {run.path}` says where "
            "everything left; see [curate] of its recipe, or run it on more images"
        )
    make_folder(out)
    return empty


def in_prompt(shared: str) -> bool:
    """Whether what both sides of a pair share is given with the prompt, or else is part of the responses.

    Raises:
        UserError: `shared` is not one of `Shared`.
    """
    if shared not in typing.get_args(Shared):
        raise UserError(f'what a pair shares goes to the "prompt" or to the "response", not to "{shared}"')
    return shared == "prompt"


def make_folder(out: Path) -> None:
    """Make an export's folder.

    Raises:
        StoreError: the disk failed.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{out} could not be made: {error.strerror or error}") from error


class Walked(NamedTuple):
    """What became of a run's rows, beside those that were written."""

    skipped: dict[str, int]
    neutralised: int


def walk(run: Run, rows: Rows, images: Images, write: Callable[[str, dict[str, Any]], None]) -> Walked:
    """Hand every row of the run's sets to `write`, with its set's name, in the order of the run's tables.

    Raises:
        UserError: not one row could be written, and why.
    """
    neutralised = 0
    written = 0
    skipped: dict[str, int] = {}
    refused: UserError | None = None

    def skip(why: str) -> None:
        skipped[why] = skipped.get(why, 0) + 1

    def put_down(name: str, spell: Callable[[], dict[str, Any]]) -> None:
        nonlocal refused, written
        try:
            row = spell()
        except UserError as error:  # these words, not the template as such: it was tried on others before
            refused = refused or error
            skip("template-refuses")
        else:
            write(name, row)
            written += 1

    for example in run.sft():
        image = images.reference(example.image)
        if image is None:
            skip(images.missing[example.image])
        else:
            turn, changed = turn_of(example)
            neutralised += changed
            put_down(f"lpt_sft_{_name(example.set)}_{example.split}", partial(rows.example, example, turn, image))
    for pair in run.preferences():
        image = images.reference(pair.image)
        if image is None:
            skip(images.missing[pair.image])
        elif (found := choice_of(pair)) is None:
            skip("shared-differs")
        else:
            choice, changed = found
            neutralised += changed
            put_down(f"lpt_preferences_{pair.split}", partial(rows.pair, pair, choice, image))
    if not written:
        whys = "; ".join(f"{rows:,} rows: {_REASONS.get(why, why)}" for why, rows in sorted(skipped.items()))
        raise refused or UserError(f"not one row of {run.path} could be written. {whys}")
    return Walked(dict(sorted(skipped.items())), neutralised)


def _name(text: str) -> str:
    """A set's name as part of a file's."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in text) or "other"


def example_metadata(example: Example) -> dict[str, str]:
    """Which record an SFT row is, for those who want to trace it; no trainer needs it."""
    return {
        "id": example.id,
        "category": example.category,
        "cue": example.cue,
        "image": example.image,
        "question": example.question,
    }


def pair_metadata(pair: Pair) -> dict[str, str]:
    """Which record a preference row is."""
    return {"id": pair.id, "category": pair.category, "image": pair.image, "question": pair.question}


def beside(name: str, **values: str) -> str:
    """A text that is written beside the sets, with each `@NAME@` in it filled in."""
    text = (resources.files("lpt.exports") / "files" / name).read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text
