"""A run, or an export for TRL, → rows of text, by the chat template of the model that is trained. No torch.

A run is exported into the training's own folder first (`lpt.exports.trl`), so what was learnt from lies beside the
checkpoint, and what could not be written is counted there. An export that somebody made earlier is read as it is,
and refused where it was rendered by another model's template.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from lpt.chat import Template
from lpt.errors import StoreError, UserError
from lpt.exports import trl
from lpt.exports.base import SETS
from lpt.exports.images import copy_images, file_name, inside
from lpt.exports.rows import RowFiles
from lpt.exports.safe import safe_text
from lpt.exports.turns import Renderer, Turn
from lpt.models.base import Message
from lpt.records import Split, digest, draw
from lpt.store.run import Run
from lpt.train.settings import TrainRecipe

CAPTION = "Describe this image in detail."
"""What the control that learns captions is asked."""
_PROBE = "\N{OBJECT REPLACEMENT CHARACTER}"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An SFT example as text."""

    id: str
    category: str
    image: Path
    given: str
    """The prompt, and the assistant's prefix: no loss."""
    target: str
    """What is learnt, the end of the turn included."""


class PairRow(msgspec.Struct, frozen=True, kw_only=True):
    """A preference pair as text."""

    id: str
    category: str
    image: Path
    given: str
    shared: str
    """The wrong thought that both sides begin with; may be empty."""
    chosen: str
    """What follows `shared`, the end of the turn included."""
    rejected: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A question of a held-out image, to be answered by generating."""

    id: str
    image: Path
    given: str
    options: dict[str, str]
    answer: str
    format: str


class Sets(msgspec.Struct, frozen=True, kw_only=True):
    """All that a training reads."""

    train: tuple[Row, ...] | tuple[PairRow, ...]
    validation: tuple[Row, ...] | tuple[PairRow, ...]
    asked: tuple[Asked, ...]
    skipped: dict[str, int]
    """Rows of the run that could not be written, by reason."""
    remarks: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """A hash of all words that are learnt from, and of which images: not of where they lie."""
        return digest("rows", *(part for row in (*self.train, *self.validation) for part in _said(row)))


def gather(source: Path, out: Path, template: Path, recipe: TrainRecipe, *, write: bool = True) -> Sets:
    """Read what a recipe learns from.

    Args:
        source: a run folder, or what `lpt export --to trl` wrote.
        out: the training's folder; what is made of a run goes to `out/data`.
        template: the folder of the model's tokenizer.
        recipe: the training recipe.
        write: write `out/data` anew; False: another process has.

    Raises:
        UserError: it is neither, it has no rows of the set, an image is missing, or it was rendered by another
            model's template.
        StoreError: the disk failed.
    """
    renderer = Renderer(str(template))
    name = _set_name(recipe)
    skipped: dict[str, int] = {}
    remarks: tuple[str, ...] = ()
    run = Run.open(source) if (source / "recipe.toml").exists() else None
    if run is None:
        folder = _export(source, name)
        remarks = ("an export holds no questions: the loss on the validation set stands in for accuracy",)
    elif not write:
        folder = out / "data"
    elif name == "lpt_captions":
        folder = out / "data"
        skipped = _write_captions(run, folder, renderer)
    else:
        folder = out / "data"
        exported = trl.export(run, folder, template=str(template))
        skipped, remarks = exported.skipped, tuple(exported.remarks())
    reader = _Reader(folder, renderer, _opening(template), recipe)
    train = tuple(reader.rows(name, "train"))
    if not train:
        raise UserError(
            f"there is nothing to train on: {source} has no rows of {name}_train. "
            + ("`lpt status` says where everything left" if run else "It has: " + ", ".join(_there(folder)))
        )
    return Sets(
        train=train,  # type: ignore[arg-type]  # of one kind: the stage's
        validation=tuple(reader.rows(name, "validation")),  # type: ignore[arg-type]
        asked=tuple(_asked(run, folder, renderer, recipe)) if run else (),
        skipped=skipped,
        remarks=remarks,
    )


class _Reader:
    """Reads rows as `lpt.exports.trl` writes them."""

    def __init__(self, folder: Path, renderer: Renderer, opening: str, recipe: TrainRecipe) -> None:
        self._folder = folder
        self._opening = opening
        self._stage = recipe.stage
        self._end = renderer.ending.rstrip()
        self._behind = renderer.ending[len(self._end) :] if recipe.data.after_end else ""

    def rows(self, name: str, split: Split) -> Iterator[Row | PairRow]:
        """The rows of a set: none where it has no file."""
        path = self._folder / f"{name}_{split}.jsonl"
        if not path.exists():
            return
        try:
            with path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    yield self._row(line, f"{path}, line {number}")
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error

    def _row(self, line: bytes, where: str) -> Row | PairRow:
        try:
            row: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
            meta = row.get("metadata") or {}
            (image,) = row["images"]
            common: dict[str, Any] = {
                "id": str(meta.get("id") or digest("row", where)),
                "category": str(meta.get("category", "")),
                "image": self._image(str(image), where),
                "given": self._given(row["prompt"], where),
            }
            if self._stage == "sft":
                return Row(target=self._closed(row["completion"], where), **common)
            shared = row.get("shared") or ""
            sides = {side: self._closed(row[side], where) for side in ("chosen", "rejected")}
            if any(not text.startswith(shared) for text in sides.values()):
                shared = ""  # it stands at the end of the prompt: exported so
            return PairRow(
                shared=shared,
                chosen=sides["chosen"][len(shared) :],
                rejected=sides["rejected"][len(shared) :],
                **common,
            )
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"{where} is no row for {self._stage} as `lpt export --to trl` writes it ({error!r})"
            ) from None

    def _image(self, name: str, where: str) -> Path:
        found = inside(self._folder.resolve(), name)
        if found is None:
            raise UserError(f"{where}: the image {name!r} lies outside of {self._folder}")
        if not found.is_file():
            raise UserError(
                f"{where}: there is no image {name!r} in {self._folder}: export the run again, or copy the images"
            )
        return found

    def _given(self, text: str, where: str) -> str:
        if self._opening not in text:
            raise UserError(
                f"{where} was rendered by the chat template of another model: {self._opening!r} does not stand "
                "in its prompt. `lpt export RUN --to trl --template MODEL` renders it anew, and `lpt train` on the "
                "run itself always does"
            )
        return text

    def _closed(self, text: str, where: str) -> str:
        if not text.endswith(self._end):
            raise UserError(
                f"{where} was rendered by the chat template of another model: it does not end in {self._end!r}. "
                "`lpt train` on the run itself renders it anew"
            )
        return text + self._behind


def _opening(template: Path) -> str:
    """What this model's template puts between a user's words and an assistant's."""
    text = Template.load(str(template)).render([Message("user", _PROBE)]).text
    return text.rpartition(_PROBE)[2].removesuffix("\n").removesuffix("<think>").rstrip()


def _set_name(recipe: TrainRecipe) -> str:
    if recipe.stage == "dpo":
        return "lpt_preferences"
    return "lpt_captions" if recipe.data.set == "captions" else f"lpt_sft_{recipe.data.set}"


def _export(source: Path, name: str) -> Path:
    if not source.is_dir() or not _there(source):
        raise UserError(
            f"{source} is neither a run nor an export: give the folder of a run (`lpt run`), or of "
            "`lpt export RUN --to trl`"
        )
    if name == "lpt_captions":
        raise UserError("an export holds no captions: give the run itself to learn them")
    return source


def _there(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("lpt_*.jsonl") if path.stem.startswith(SETS))


def _write_captions(run: Run, folder: Path, renderer: Renderer) -> dict[str, int]:
    """Write the captions of a run's images as a set; what could not be written, by reason."""
    images = copy_images(run, folder, tables=("captions",))
    skipped: dict[str, int] = {}
    with RowFiles(folder, "jsonl") as files:
        for caption in run.captions():
            name = images.reference(caption.image)
            if name is None:
                why = images.missing[caption.image]
                skipped[why] = skipped.get(why, 0) + 1
                continue
            turn = Turn(system="", prompt=CAPTION, prefix="", target=safe_text(caption.text.strip()))
            given, target = renderer.turn(turn)
            row = {
                "prompt": given,
                "completion": target + renderer.ending.rstrip(),
                "images": [name],
                "metadata": {"id": caption.id, "category": "caption"},
            }
            files.write(f"lpt_captions_{caption.split}", row)
    return skipped


def _asked(run: Run, folder: Path, renderer: Renderer, recipe: TrainRecipe) -> Iterator[Asked]:
    """The held-out images' questions, drawn evenly, in the order in which they were drawn."""
    if not recipe.validate.questions:
        return
    drawn = sorted(
        (question for question in run.questions() if question.split == "validation"),
        key=lambda question: draw(recipe.seed, question.id, "validate"),
    )
    left = recipe.validate.questions
    for question in drawn:
        image = folder / file_name(question.image)
        if left and image.is_file():
            left -= 1
            turn = Turn(system=safe_text(question.system), prompt=safe_text(question.prompt), prefix="", target="a")
            yield Asked(
                id=question.id,
                image=image,
                given=renderer.turn(turn)[0],
                options=question.letters,
                answer=question.answer,
                format=question.answer_format,
            )


def _said(row: Row | PairRow) -> tuple[str, ...]:
    words = (row.target,) if isinstance(row, Row) else (row.shared, row.chosen, row.rejected)
    return row.image.name, row.given, *words
