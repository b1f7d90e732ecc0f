"""What the right answer of a question truly is, where it can be known: of rendered pictures, of audited labels."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
import polars as pl

from lpt.errors import UserError
from lpt.records import LETTERS
from lpt.store.run import Run

SCHEMA = {"question": pl.String, "wrong": pl.Boolean, "truth": pl.String}
"""wrong: whether the marked answer is; truth: the letter that is right, null where none is or it is not known."""


_Right: TypeAlias = Callable[[str, str, list[str]], str | None]
"""A caption's id, a question's stem and options → what is right, in words; None where nothing is."""


def known(run: Run) -> bool:
    """Whether a run's pictures are rendered, so that what is on them tells the truth."""
    return run.recipe.questions is None and run.recipe.captions.source in _WORLDS


def of_world(run: Run) -> pl.DataFrame:
    """The truth of every question of a run of rendered pictures."""
    answer = _WORLDS[run.recipe.captions.source](run)
    columns = ("id", "caption", "stem", "options", "answer")
    rows: list[tuple[str, bool, str | None]] = []
    for id_, caption, stem, options, marked in run.table("questions").select(columns).collect().iter_rows():
        right = answer(caption, stem, options)
        letter = LETTERS[options.index(right)] if right in options else None
        rows.append((id_, letter != marked, letter))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _scenes(run: Run) -> _Right:
    from lpt.world.questions import truth  # noqa: PLC0415 (the world is needed only here)
    from lpt.world.scene import scene  # noqa: PLC0415

    names = dict(run.table("captions").select("id", "source_id").collect().iter_rows())

    @lru_cache(maxsize=1)  # questions come caption by caption
    def drawn(caption: str) -> Any:
        style, seed, index = names[caption].rsplit("-", 2)
        return scene(int(seed), int(index), style)

    return lambda caption, stem, options: truth(drawn(caption), stem, options)


def _boards(run: Run) -> _Right:
    from lpt.world.boards.asking import recognise, solve  # noqa: PLC0415
    from lpt.world.boards.talk import read  # noqa: PLC0415

    texts = dict(run.table("captions").select("id", "text").collect().iter_rows())

    def right(caption: str, stem: str, _options: list[str]) -> str | None:
        board, asked = read(texts[caption]), recognise(stem)  # a board's caption tells all of it
        return solve(board, asked) if board and asked else None

    return right


_WORLDS: Final = {"scenes": _scenes, "boards": _boards}


class _Label(msgspec.Struct):
    question: str
    right: bool
    answer: str | None = None


def of_labels(run: Run, path: Path) -> pl.DataFrame:
    """The truth of audited questions: JSON Lines of {question, right}, and `answer`, the right letter, if known.

    Raises:
        UserError: it cannot be read, a row is no label, or names a question that the run does not have.
    """
    answers = dict(run.table("questions").select("id", "answer").collect().iter_rows())
    rows: dict[str, tuple[str, bool, str | None]] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UserError(f"--labels {path} cannot be read: {error.strerror or error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            label = msgspec.json.decode(line, type=_Label)
        except msgspec.MsgspecError as error:
            raise UserError(f"--labels {path}, line {number}: {error}; a line is {{question, right}}") from error
        if label.question not in answers:
            raise UserError(f"--labels {path}, line {number}: the run has no question {label.question[:40]!r}")
        letter = answers[label.question] if label.right else label.answer
        rows[label.question] = (label.question, not label.right, letter)
    return pl.DataFrame(list(rows.values()), schema=SCHEMA, orient="row")
