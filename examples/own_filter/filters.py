"""A filter of one's own: an expression over what is learnt, true where an example must go."""

import polars as pl

from lpt.settings import CurateSettings


def dithering(learnt: pl.Expr, settings: CurateSettings) -> pl.Expr:
    """Turn away what changes its mind more than twice. The function's name is the reason that the funnel counts.

    `learnt` is the text that carries loss: for an X→O example, what follows the student's wrong thought.
    """
    return learnt.str.count_matches(r"\b(?i:wait|hmm|actually|alternatively)\b") > 2
