"""From data and a recipe to examples, and what can be said of them before anything is trained. No torch."""

from pathlib import Path
from statistics import median

import msgspec

from lpt.errors import UserError
from lpt.train import folders
from lpt.train.examples import Encoder, Examples
from lpt.train.sets import Sets, gather
from lpt.train.settings import TrainRecipe


class Prepared:
    """Everything that a training begins with."""

    def __init__(
        self,
        *,
        recipe: TrainRecipe,
        source: Path,
        model: Path,
        sets: Sets,
        encoder: Encoder,
        train: Examples,
        validation: Examples,
    ) -> None:
        self.recipe = recipe
        self.source = source
        self.model = model
        self.sets = sets
        self.encoder = encoder
        self.train = train
        self.validation = validation
        self.fingerprint = sets.fingerprint


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What is learnt from, in numbers. A pair counts as one example, its tokens on both sides."""

    stage: str
    set: str
    fingerprint: str
    examples: int
    validation: int
    questions: int
    """Of held-out images, to be answered at each validation."""
    categories: dict[str, int]
    skipped: dict[str, int]
    """Rows of the run that could not be written, by reason."""
    left_out: dict[str, int]
    """Rows that are not learnt from, by reason, of training and validation."""
    tokens: int
    learnt: int
    """Tokens with loss (dpo: with loss of the SFT term)."""
    compared: int
    """Tokens in the log-ratios (sft: as learnt)."""
    shortest: int
    median: int
    longest: int
    cutoff: int


def prepare(source: Path, out: Path, recipe: TrainRecipe, *, write: bool = True) -> Prepared:
    """Read the data, render it, mask it.

    Args:
        source: a run, or an export for TRL.
        out: the training's folder.
        recipe: the training recipe.
        write: make `out/data` of the run anew; False: take it as it is there.

    Raises:
        UserError: the model, the data or the recipe cannot be used; the message says which, and what to do.
        StoreError: the disk failed.
    """
    model = folders.find(recipe.model)
    sets = gather(source, out, model, recipe, write=write)
    encoder = Encoder(model, recipe, cache=out / "cache")
    return Prepared(
        recipe=recipe,
        source=source,
        model=model,
        sets=sets,
        encoder=encoder,
        train=encoder.encode_all(sets.train),
        validation=encoder.encode_all(sets.validation),
    )


def summary(prepared: Prepared) -> Summary:
    """What is learnt from, in numbers."""
    train, recipe = prepared.train, prepared.recipe
    lengths = train.lengths
    categories: dict[str, int] = {}
    for row in train.rows:
        categories[row.category] = categories.get(row.category, 0) + 1
    left_out = dict(train.left_out)
    for why, rows in prepared.validation.left_out.items():
        left_out[why] = left_out.get(why, 0) + rows
    return Summary(
        stage=recipe.stage,
        set="preferences" if recipe.stage == "dpo" else recipe.data.set,
        fingerprint=prepared.fingerprint,
        examples=len(train.rows),
        validation=len(prepared.validation.rows),
        questions=len(prepared.sets.asked),
        categories=dict(sorted(categories.items())),
        skipped=prepared.sets.skipped,
        left_out=left_out,
        tokens=train.total(),
        learnt=train.total("learnt"),
        compared=train.total("compared"),
        shortest=lengths[0],
        median=int(median(lengths)),
        longest=lengths[-1],
        cutoff=recipe.data.cutoff,
    )


def shown(prepared: Prepared, number: int) -> list[tuple[str, str, list[tuple[str, bool, bool]]]]:
    """Examples for a person to check: evenly over the set, one of each category first.

    Returns:
        For each side of each example: its id and category, which side it is ("" in SFT), and its tokens as (text,
        learnt, compared). Tokens that are part of one character are given together.
    """
    rows = prepared.train.rows
    if number < 1:
        raise UserError("--show-masks wants a number from 1 on")
    first = {row.category: row for row in reversed(rows)}
    chosen = [first[name] for name in sorted(first)]
    chosen += [row for row in rows[:: max(1, len(rows) // number)] if row not in chosen]
    found = []
    for row in chosen[:number]:
        names = ("",) if len(row.sides) == 1 else ("chosen", "rejected")
        for name, side in zip(names, row.sides, strict=True):
            pieces: list[tuple[str, bool, bool]] = []
            waiting: list[int] = []
            for at, token in enumerate(side.ids):
                waiting.append(token)
                text = prepared.encoder.tokenizer.decode(waiting)
                if "\N{REPLACEMENT CHARACTER}" not in text or len(waiting) > 4:
                    pieces.append((text, side.learnt[at], side.compared[at]))
                    waiting = []
            found.append((f"{row.id} {row.category}".strip(), name, pieces))
    return found
