"""The filter `near_duplicate`: of questions, and of traces, that are nearly the same, the first by id stays.

It looks at all that passed the other filters at once, so it comes last, wherever it stands in the recipe: were it
to keep a text that another filter then drops, all of its likes would be lost with it. It asks no model.

Questions are compared within their image (stem and options, exactly): the same words about another picture ask for
another look, so across images nothing is a repetition. Traces are compared everywhere, but only with those of the
same category (O, X, O→O, …): a right and a wrong thought that differ in a word are the best of pairs, not a
repetition. What is compared is what would be learnt.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import NamedTuple

import numpy as np
import polars as pl

from lpt.curate import candidates, minhash
from lpt.curate.candidates import Range
from lpt.store.run import Run

NAME = "near_duplicate"
_DROPPED = dict.fromkeys(("id", "image", "reason", "detail"), pl.String)


class Repeats(NamedTuple):
    """What repeats something that stays."""

    questions: pl.Series
    """Their ids."""
    dropped: pl.DataFrame
    """Candidates: id, image, reason, detail. Those of a repeated question, and those that are repetitions."""


class _Part(NamedTuple):
    notes: pl.DataFrame
    """id, image, category, question."""
    signatures: minhash.Signatures
    questions: pl.DataFrame
    """id, same: the questions that repeat another, and which."""


def find(run: Run, parts: list[Range], dropped: pl.DataFrame, refused: pl.Series, similarity: float) -> Repeats:
    """Find repetitions among the candidates that passed the filters.

    Args:
        run: whose tables.
        parts: its images, cut into ranges.
        dropped: the candidates that did not pass (`id`).
        refused: ids of the questions that did not.
        similarity: the Jaccard similarity from which on something repeats another.
    """
    useless = candidates.Useless.of_run(run)

    def read(part: Range) -> _Part:
        asked = candidates.questions(run, part)
        asked = asked.filter(~pl.col("id").is_in(refused.implode()))
        same = _same_questions(asked, similarity)
        frame = candidates.read(run, part, useless).join(dropped.select("id"), on="id", how="anti")
        return _Part(frame.select("id", "image", "category", "question"), minhash.signatures(frame["learnt"]), same)

    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        read_parts = list(pool.map(read, parts))
    if not read_parts:
        return Repeats(pl.Series("id", [], pl.String), pl.DataFrame(schema=_DROPPED))
    notes = pl.concat([part.notes for part in read_parts]).with_row_index("row")
    found = np.concatenate([part.signatures for part in read_parts])
    same = pl.concat([part.questions for part in read_parts])
    del read_parts
    asked_twice = notes.join(same, left_on="question", right_on="id", how="inner").select(
        "id", "image", reason=pl.lit(NAME), detail=pl.concat_str(pl.lit("question "), pl.col("same").str.head(12))
    )
    rest = notes.join(asked_twice.select("id"), on="id", how="anti").sort("category", "id")
    gone = [asked_twice]
    for rows in rest.partition_by("category", maintain_order=True):
        again = minhash.repeats(found[rows["row"].to_numpy()], similarity)
        ids = rows["id"]
        gone.append(
            pl.DataFrame(
                {
                    "id": [ids[row] for row in again],
                    "image": [rows["image"][row] for row in again],
                    "reason": [NAME] * len(again),
                    "detail": [ids[first][:12] for first in again.values()],
                },
                schema=_DROPPED,
            )
        )
    return Repeats(same["id"], pl.concat(gone))


def _same_questions(asked: pl.DataFrame, similarity: float) -> pl.DataFrame:
    """The questions that repeat one of the same image which stays, and which: id, same."""
    found: list[tuple[str, str]] = []
    for rows in asked.sort("image", "id").partition_by("image", maintain_order=True):
        # The order of the options is how a question is shown, not what it asks.
        words = [
            minhash.runs(f"{stem} {' '.join(sorted(options))}")
            for stem, options in rows.select("stem", "options").iter_rows()
        ]
        ids, gone = rows["id"].to_list(), set[int]()
        for first, second in combinations(range(len(ids)), 2):
            if {first, second} & gone:
                continue
            if len(words[first] & words[second]) >= similarity * len(words[first] | words[second]):
                gone.add(second)
                found.append((ids[second], ids[first]))
    return pl.DataFrame(found, schema=dict.fromkeys(("id", "same"), pl.String), orient="row")
