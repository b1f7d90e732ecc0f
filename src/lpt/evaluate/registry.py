"""Benchmarks by name. A user's own is `module:name` or `path/to/file.py:name`, a `Benchmark`."""

import difflib
import importlib
from collections.abc import Sequence
from pathlib import Path

from lpt.errors import UserError
from lpt.evaluate.benchmark import Benchmark
from lpt.plugins import load_object

_BUILT_IN = {
    "vstar": "vstar:BENCHMARK",
    "cvbench": "cvbench:BENCHMARK",
    "mmvp": "mmvp:BENCHMARK",
    "mmstar": "mmstar:BENCHMARK",
    "mmstar-v": "mmstar:VISUAL_PART",
    "mme-realworld": "mme_realworld:BENCHMARK",
    "mme-realworld-lite": "mme_realworld:LITE",
    "mme-rw-v": "mme_realworld:VISUAL_PART",
    "realworldqa": "realworldqa:BENCHMARK",
    "mmlu-pro": "mmlu_pro:BENCHMARK",
    "mmau": "mmau:BENCHMARK",
    "nieh": "nieh:BENCHMARK",
    "scenes-bench": "scenes:BENCHMARK",
    "boards-bench": "boards_bench:BENCHMARK",
    "boards-bench-small": "boards_bench:SMALL",
    "boards-bench-blank": "boards_bench:BLANK",
}
PAPER = ("cvbench", "vstar", "mmvp", "mmstar-v", "mme-rw-v", "mmlu-pro")
"""The benchmarks of the paper's tables: `--benchmarks paper`."""


def names() -> list[str]:
    """The benchmarks that come with the package."""
    return list(_BUILT_IN)


def benchmark(name: str, base: Path | None = None) -> Benchmark:
    """A benchmark by its name, or a user's own.

    Raises:
        UserError: there is none of that name, or what was named is no benchmark.
    """
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        found = getattr(importlib.import_module(f"lpt.evaluate.benchmarks.{module}"), attribute)
    elif ":" in name:
        found = load_object(name, base)
    else:
        near = difflib.get_close_matches(name, _BUILT_IN, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; `lpt eval list` shows them"
        raise UserError(f"there is no benchmark {name!r}{hint}")
    if not isinstance(found, Benchmark):
        raise UserError(f"{name} is a {type(found).__name__}, not a lpt.evaluate.Benchmark")
    return found


def benchmarks(wanted: str | Sequence[str]) -> list[Benchmark]:
    """Several, as `vstar,mmvp`; `paper` stands for those of the paper. Each once, in the order in which they came.

    Raises:
        UserError: one of them cannot be had, none is named, or two have the same name.
    """
    listed = wanted.split(",") if isinstance(wanted, str) else wanted
    named = [name.strip() for name in listed if name.strip()]
    named = [each for name in named for each in (PAPER if name == "paper" else (name,))]
    if not named:
        raise UserError(f"no benchmark is named: give some of {', '.join(_BUILT_IN)}")
    found: dict[str, Benchmark] = {}
    for name in dict.fromkeys(named):
        one = benchmark(name)
        if one.name in found:
            raise UserError(f"two benchmarks are called {one.name}")
        found[one.name] = one
    return list(found.values())
