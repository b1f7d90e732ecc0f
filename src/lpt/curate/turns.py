"""Turns: what an assistant says in full, in one form throughout, as expressions over candidates.

The answer is written anew from the letter, in the form that the question asks for: chosen and rejected answers look
alike, and no reply's own slip of form is learnt.
"""

import polars as pl

from lpt.records import LETTERS

OPEN = "<think> "
CLOSE = " </think> <answer> "
END = " </answer>"

_INDEX = {letter: index for index, letter in enumerate(LETTERS)}


def answer() -> pl.Expr:
    """The answer that `letter` stands for, in `answer_format`: "(B)", "B." or the option's full text."""
    letter = pl.col("letter")
    return (
        pl.when(pl.col("answer_format") == "(X)")
        .then(pl.concat_str(pl.lit("("), letter, pl.lit(")")))
        .when(pl.col("answer_format") == "X.")
        .then(pl.concat_str(letter, pl.lit(".")))
        .otherwise(
            pl.col("options").list.get(letter.replace_strict(_INDEX, return_dtype=pl.Int64), null_on_oob=True)
        )
    )


def masked() -> pl.Expr:
    """Whether the thought begins with somebody's mistake, which is given and not learnt: X→O and X→X."""
    return (pl.col("before") == "wrong").fill_null(value=False) & (pl.col("prefix") != "")


def prefix() -> pl.Expr:
    """What is given without loss: the wrong thought, up to where the reasoner goes on."""
    return pl.when(masked()).then(pl.concat_str(pl.lit(OPEN), "prefix")).otherwise(pl.lit(""))


def target() -> pl.Expr:
    """What is learnt; `prefix` + `target` is the whole turn."""
    begun = pl.when(masked()).then("added").otherwise(pl.concat_str(pl.lit(OPEN), "whole"))
    return pl.concat_str(begun, pl.lit(CLOSE), answer(), pl.lit(END))


def turn() -> pl.Expr:
    """The whole assistant turn."""
    return pl.concat_str(prefix(), target())


def direct() -> pl.Expr:
    """A turn of the answer alone."""
    return pl.concat_str(pl.lit("<answer> "), answer(), pl.lit(END))
