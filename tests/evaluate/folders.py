"""Folders as an evaluation leaves them, made from outcomes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from lpt.evaluate import columns

SCHEMA: Mapping[str, Any] = {name: kind for name, kind in columns.SCHEMA.items() if name != "credit"}
"""As evaluations without graded matches were written."""


def row(benchmark: str, item: int, outcome: str, **more: Any) -> dict[str, Any]:
    """One sample."""
    came = outcome != "error"
    return {
        "benchmark": benchmark,
        "item": f"{benchmark}/{item:05}",
        "sample": 0,
        "category": "all",
        "cluster": f"{benchmark}/{item:05}",
        "question": f"What is at {item}?",
        "options": ["a", "b"],
        "truth": ["A"],
        "reply": "<answer>(A)</answer>" if came else None,
        "answer": {"right": "A", "wrong": "B"}.get(outcome),
        "outcome": outcome,
        "reason": "letter" if came else "timeout",
        "published": outcome == "right" if came else None,
        "tokens_out": 100 if came else None,
        "truncated": False,
        **more,
    }


def folder(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    model: str = "",
    told: Mapping[str, Mapping[str, Any]] | None = None,
    protocol: Mapping[str, Any] | None = None,
    grader: str = "lpt",
) -> Path:
    """Write `eval.json` and `scores.parquet`."""
    path.mkdir(parents=True)
    names = dict.fromkeys(str(one["benchmark"]) for one in rows)
    record = {
        "lpt": "0.1.0",
        "model": model or path.name,
        "protocol": {"name": "paper", "max_tokens": 1024, **(protocol or {})},
        "grader": grader,
        "benchmarks": {
            name: {"revision": "r1", "count": len(rows), "licence": "MIT", **(told or {}).get(name, {})}
            for name in names
        },
    }
    (path / "eval.json").write_text(json.dumps(record), encoding="utf-8")
    pl.DataFrame(list(rows), schema=SCHEMA).write_parquet(path / "scores.parquet")
    return path


def letters(benchmark: str, outcomes: str, **more: Any) -> list[dict[str, Any]]:
    """A row an item: R right, W wrong, U unparsed, E error."""
    known = {"R": "right", "W": "wrong", "U": "unparsed", "E": "error"}
    return [row(benchmark, i, known[one], **more) for i, one in enumerate(outcomes)]
