"""The columns of `scores.parquet`, for whoever writes it and for whoever reads it."""

from typing import Any, Final

import polars as pl

SCHEMA: Final[dict[str, Any]] = {
    "benchmark": pl.String,
    "item": pl.String,
    "sample": pl.Int32,
    "category": pl.String,
    "cluster": pl.String,
    "question": pl.String,
    "options": pl.List(pl.String),
    "truth": pl.List(pl.String),
    "reply": pl.String,
    "answer": pl.String,
    "outcome": pl.String,
    "reason": pl.String,
    "published": pl.Boolean,
    "credit": pl.Float64,
    "tokens_out": pl.Int32,
    "truncated": pl.Boolean,
}
"""One row a sample: docs/guides/evaluate.md names them."""
