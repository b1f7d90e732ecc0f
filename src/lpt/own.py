"""Questions of the user's own: read into a run's tables, and handed to the journey of their image."""

from collections import Counter
from collections.abc import Iterator

import polars as pl

from lpt.captions.known import Known
from lpt.captions.questions import read
from lpt.errors import SourceError
from lpt.partition import Sieve
from lpt.records import Caption, Drop
from lpt.store.run import Run
from lpt.store.tables import read_table
from lpt.synthesis.bring import Brought

TABLE = "brought"
"""Beside the tables of records: the questions as their source has them, by image and caption."""

_ORDER = ("image", "caption", "index")


def take_in(
    run: Run, limit: int | None, *, captions_needed: bool, only: Sieve | None = None
) -> tuple[int, list[Drop]]:
    """Read the recipe's [questions] into two tables, ordered by image hash; the number of captions, and the drops.

    Args:
        run: the run.
        limit: take only this many rows.
        captions_needed: the run will think harder, which takes a caption.
        only: take only the images of one partition.

    Raises:
        SourceError: the source cannot be read, not one row of it can be used, or captions are needed and there are
            none.
    """
    recipe = run.recipe
    assert recipe.questions
    drops: list[Drop] = []
    some = False
    with Known(run.path / "intake.sqlite") as known, run.writing() as tables:
        captions = tables.open("captions", Caption, sort=("image", "id"))
        questions = tables.open(TABLE, Brought, sort=_ORDER)
        for item in read(
            recipe.questions,
            base=run.path,
            run_images=run.images,
            seed=recipe.seed,
            validation=recipe.curate.validation,
            limit=limit,
            known=known,
        ):
            if isinstance(item, Brought):
                some = True
                if only is None or only.partition.holds(item.image):
                    questions.write([item])
            elif only and not only.keeps(item):
                continue
            elif isinstance(item, Drop):
                drops.append(item)
            else:
                captions.write([item])
    images = captions.rows
    if not some:
        raise SourceError(_why(drops))
    if captions_needed:
        texts = run.table("captions").select(there=pl.col("text") != "").collect()["there"]
        if not (only.told if only else texts.any()):
            raise SourceError(
                f"none of the {images} images has a caption, and thinking harder reads one: stop after the student "
                "(--until think), or name the column that holds captions (questions.columns.caption)"
            )
    drops.sort(key=lambda drop: drop.id)
    return images, drops


def _why(drops: list[Drop]) -> str:
    if not drops:
        return "the question set holds no rows: see questions.path"
    (reason, count), *_ = Counter(drop.reason for drop in drops).most_common(1)
    first = next(drop for drop in drops if drop.reason == reason)
    return (
        f"not one of the {len(drops)} rows of the question set can be used; {count} times for `{reason}`: "
        f"{first.detail}. See [questions]"
    )


class Desk:
    """Hands each caption's questions to its journey: both tables stand in one order, and are read side by side."""

    def __init__(self, run: Run) -> None:
        self._captions = read_table(run.table_path("captions"), Caption)
        self._questions = read_table(run.table_path(TABLE), Brought)
        self._waiting: dict[str, list[Brought]] = {}

    def captions(self) -> Iterator[Caption]:
        """The captions of the run, in their order. Only the questions of those under way are in memory."""
        question = next(self._questions, None)
        for caption in self._captions:
            mine = self._waiting[caption.id] = []
            while question is not None and question.caption == caption.id:
                mine.append(question)
                question = next(self._questions, None)
            yield caption
        assert question is None, "captions and questions stand in one order"

    def waiting(self, caption: Caption) -> list[Brought]:
        """The questions on a caption that has set out and has not asked for them."""
        return self._waiting[caption.id]

    def of(self, caption: Caption) -> list[Brought]:
        """The questions on a caption that has set out; to be asked once."""
        return self._waiting.pop(caption.id)
