"""What an evaluation leaves: `scores.parquet`, one row a sample, and `eval.json`, which says what they are of."""

import importlib.metadata
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from lpt.errors import RunError, StoreError
from lpt.evaluate.columns import SCHEMA
from lpt.evaluate.load import Loaded
from lpt.evaluate.protocols import Protocol

SCORES = "scores.parquet"
RECORD = "eval.json"


def record(model: str, protocol: Protocol, loaded: Iterable[Loaded], before: Mapping[str, Any]) -> dict[str, Any]:
    """What `eval.json` says: these benchmarks, and those of `before` that are not among them."""
    benchmarks = dict(before.get("benchmarks", {}))
    for one in loaded:
        benchmark = one.benchmark
        benchmarks[benchmark.name] = {
            "title": benchmark.title,
            "revision": one.revision,
            "count": len(one.items),
            "of": one.whole,
            "licence": benchmark.licence,
            "fingerprint": one.fingerprint,
            "primary": benchmark.primary.name,
            "metrics": msgspec.to_builtins(benchmark.metrics),
            "text_only": not benchmark.media,
            "caution": benchmark.caution,
        }
    return {
        "lpt": _version(),
        "model": model,
        "protocol": protocol.settings(),
        "grader": "lpt",
        "benchmarks": benchmarks,
    }


def begun(out: Path, model: str, protocol: Protocol) -> dict[str, Any]:
    """What an earlier evaluation in this folder said of itself; nothing, where there was none.

    Raises:
        RunError: it was of another model or protocol, so that its scores are other scores.
    """
    try:
        found = msgspec.json.decode((out / RECORD).read_bytes(), type=dict)
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        raise RunError(f"{out / RECORD} cannot be read ({error}): choose another --out") from error
    if found.get("model") != model or found.get("protocol") != protocol.settings():
        raise RunError(
            f"{out} holds an evaluation of {found.get('model')} by the protocol {found.get('protocol')}: another "
            "model or protocol needs another --out"
        )
    return found


def write(out: Path, rows: list[dict[str, Any]], said: Mapping[str, Any]) -> None:
    """Write both files: these rows, and those of benchmarks that were scored before and now are not.

    Raises:
        StoreError: the folder cannot be written.
    """
    frame = pl.DataFrame(rows, schema=SCHEMA)
    before = kept(out)
    if before is not None:
        names = frame["benchmark"].unique().to_list()
        frame = pl.concat([before.filter(~pl.col("benchmark").is_in(names)), frame])
    frame = frame.sort("benchmark", "item", "sample")
    try:
        for name, put in (
            (SCORES, lambda path: frame.write_parquet(path, compression="zstd")),
            (
                RECORD,
                lambda path: path.write_bytes(msgspec.json.format(msgspec.json.encode(said), indent=1) + b"\n"),
            ),
        ):
            partial = out / f".{name}.{os.getpid()}"
            put(partial)
            partial.replace(out / name)
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror or error}") from error


def kept(out: Path) -> pl.DataFrame | None:
    """The rows of an earlier evaluation in this folder; None where there is none, or not one of this form."""
    if not (out / SCORES).is_file():
        return None
    try:
        return pl.read_parquet(out / SCORES, glob=False).select(
            pl.col(name).cast(kind) for name, kind in SCHEMA.items()
        )
    except (OSError, pl.exceptions.PolarsError):
        return None


def _version() -> str:
    try:
        return importlib.metadata.version("long-perceptual-thoughts")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        return "unknown"
