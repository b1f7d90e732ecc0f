"""Finished results of the miniature, small enough to be committed, and the table that is made of them. No torch.

A result is one student's answers to boards-bench: one letter an item, in the order of the items' ids. That is all
that paired intervals need, so rows can be made one by one, on any machine and day, and be compared later.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
import numpy as np
import polars as pl

from lpt.errors import UserError
from lpt.evaluate import evaluated
from lpt.evaluate.benchmarks import boards_bench
from lpt.evaluate.items import Item
from lpt.evaluate.stats import Floats, Interval, Ints, Part, bootstrapped, repeated
from lpt.exports.rows import put
from lpt.records import LETTERS, digest
from lpt.world.boards.bench import FURTHER, KINDS

BASE: Final = "base"
SHOWN: Final = (*KINDS, *FURTHER)
_SETS: Final = {
    "boards-bench": boards_bench.SETS,
    "boards-bench-blank": boards_bench.SETS,
    "boards-bench-small": boards_bench.SMALL_SETS,
}
_GLANCE: Final = re.compile(r"<think>\s*[^.]*?\b(?:is|count|come to) (\w+)\.(?! So )")
_SAFE: Final = re.compile(r"[a-z0-9][a-z0-9-]*")
_Kinds: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.str_]]"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What one student answered."""

    row: str
    """The table's row that it belongs to."""
    seed: int
    """Of the student, and of all that was made with it."""
    benchmark: str
    """boards-bench, or its small form."""
    items: str
    """A hash of the questions: results of different ones are never compared."""
    final: str
    """An item each: o right, x wrong, - unparsed."""
    first: str
    """The same of the first thought alone, as far as a reply begins with a glance."""
    tokens: float
    """New tokens of a reply, on average."""
    notes: dict[str, float] = {}
    """What else was measured on the way: tokens trained on, seconds, the student's ceiling."""

    def scores(self, which: str = "final") -> Floats:
        """1 where it is right, else 0: (items,)."""
        return np.array([letter == "o" for letter in getattr(self, which)], dtype=np.float64)


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """How much more of `kinds` a row has than another, from -1 to 1, over the seeds that both have."""

    each: tuple[float, ...]
    """Of each seed."""
    questions: Interval
    """What other questions to the same trained students would bring."""
    trainings: Interval
    """What other students, trained again, would bring; without bounds where there are fewer than three."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table. Shares are from 0 to 1."""

    row: str
    seeds: tuple[int, ...]
    shares: dict[str, float]
    """`kinds` (the mean of the four kinds), each kind, `unseen`, `dusk`; means over seeds."""
    each: tuple[float, ...]
    """`kinds` of each seed."""
    first: float
    """How often the first thought alone was right, over all items."""
    mended: float
    """Of all items, those whose first thought was wrong and whose answer is right."""
    spoilt: float
    """The other way round."""
    tokens: float
    differences: dict[str, Gap]
    """From each row that it is held against."""


def result(folder: Path, row: str, seed: int, notes: Mapping[str, float] | None = None) -> Result:
    """Read an evaluation on boards-bench.

    Raises:
        UserError: it is none, or not all of it was answered.
    """
    if not _SAFE.fullmatch(row):
        raise UserError(f"--row {row!r}: a row's name has small letters, digits and hyphens")
    made = evaluated.read(folder)
    (benchmark,) = [name for name in made.record.benchmarks if name in _SETS] or [""]
    if not benchmark:
        raise UserError(f"{folder} is no evaluation on {' or '.join(_SETS)}")
    rows = pl.read_parquet(folder / "scores.parquet").filter(pl.col("benchmark") == benchmark)
    found = {line["item"]: line for line in rows.iter_rows(named=True)}
    items = _items(benchmark)
    missing = [item.id for item in items if item.id not in found]
    if missing or len(found) != len(items):
        raise UserError(
            f"{folder} has answers to {len(found):,} items of {benchmark}'s {len(items):,}: run it again, "
            "without --limit"
        )
    lines = [found[item.id] for item in items]
    replies = [str(line.get("reply") or "") for line in lines]
    return Result(
        row=row,
        seed=seed,
        benchmark=benchmark,
        items=_fingerprint(items),
        final="".join({"right": "o", "wrong": "x"}.get(line["outcome"], "-") for line in lines),
        first="".join(_first(reply, item) for reply, item in zip(replies, items, strict=True)),
        tokens=round(float(np.mean([line["tokens_out"] or 0 for line in lines])), 2),
        notes=dict(notes or {}),
    )


def trained(path: Path) -> dict[str, float]:
    """What a training says of itself that a result should keep.

    Raises:
        UserError: the file is not what `lpt train --json` prints.
    """
    try:
        found = msgspec.json.decode(path.read_bytes())
        data, done = found["data"], found["trained"]
        return {name: float(data[name]) for name in ("examples", "tokens", "learnt")} | {
            name: float(done[name]) for name in ("steps", "seconds", "first_loss", "last_loss")
        }
    except (OSError, msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not what `lpt train sft|dpo --json` prints: {error}") from error


def keep(one: Result, folder: Path) -> Path:
    """Write a result where `load` finds it."""
    folder.mkdir(parents=True, exist_ok=True)
    return put(
        folder / f"{one.row}-{one.seed}.json", msgspec.json.format(msgspec.json.encode(one), indent=1) + b"\n"
    )


def load(folder: Path) -> list[Result]:
    """All results of a folder.

    Raises:
        UserError: there are none, one is no result, or some are of other questions than this version's.
    """
    found: list[Result] = []
    for path in sorted(folder.glob("*.json")):
        try:
            one = msgspec.json.decode(path.read_bytes(), type=Result)
        except msgspec.DecodeError as error:
            raise UserError(f"{path} is no result of the miniature: {error}") from error
        if one.benchmark not in _SETS or one.items != _fingerprint(_items(one.benchmark)):
            raise UserError(f"{path} answers other questions than this version's {one.benchmark}: make it again")
        if found and one.items != found[0].items:
            raise UserError(f"{folder} has results of {one.benchmark} and of {found[0].benchmark}: keep them apart")
        found.append(one)
    if not found:
        raise UserError(f"there are no results in {folder}: scripts/miniature.sh makes them")
    return found


def table(results: Sequence[Result], against: Callable[[str], Iterable[str]]) -> list[Line]:
    """Rows in the order in which they are first named, each held against the rows that `against` names.

    Args:
        results: of any rows and seeds.
        against: of a row, those whose `kinds` is subtracted from its own; `base` is always among them.
    """
    items = _items(results[0].benchmark)
    kinds = np.array([item.category.split("/")[0] for item in items])
    _, clusters = np.unique([item.cluster for item in items], return_inverse=True)
    by_row: dict[str, dict[int, Result]] = {}
    for one in results:
        by_row.setdefault(one.row, {})[one.seed] = one
    lines = []
    for row, mine in by_row.items():
        others = [other for other in dict.fromkeys((BASE, *against(row))) if other in by_row and other != row]
        differences = {}
        for other in others:
            shared = sorted(mine.keys() & by_row[other].keys())
            if shared:
                gaps = [mine[seed].scores() - by_row[other][seed].scores() for seed in shared]
                differences[other] = _gap(gaps, kinds, clusters)
        lines.append(_line(row, [mine[seed] for seed in sorted(mine)], kinds, differences))
    return lines


def _line(row: str, mine: Sequence[Result], kinds: _Kinds, differences: dict[str, Gap]) -> Line:
    final = np.stack([one.scores() for one in mine])
    first = np.stack([one.scores("first") for one in mine])
    begun = np.stack([[letter != "-" for letter in one.first] for one in mine])
    shares = {kind: float(final[:, kinds == kind].mean()) for kind in SHOWN}
    each = tuple(_mean(one, kinds) for one in final)
    return Line(
        row=row,
        seeds=tuple(one.seed for one in mine),
        shares={"kinds": float(np.mean(each)), **shares},
        each=each,
        first=float(first.mean()),
        mended=float((begun & (first < final)).mean()),
        spoilt=float((begun & (first > final)).mean()),
        tokens=float(np.mean([one.tokens for one in mine])),
        differences=differences,
    )


def _gap(gaps: Sequence[Floats], kinds: _Kinds, clusters: Ints) -> Gap:
    """The difference in `kinds`; sets of questions are drawn anew, with the answers of all seeds to them."""
    parts = []
    for kind in KINDS:
        mask = kinds == kind
        values = np.concatenate([gap[mask] for gap in gaps])
        parts.append(Part(1.0, values, np.tile(clusters[mask], len(gaps)).astype(np.int64)))
    each = tuple(_mean(gap, kinds) for gap in gaps)
    return Gap(each=each, questions=bootstrapped(parts, paired=True, seed=0)[0], trainings=repeated(each))


def _mean(scores: Floats, kinds: _Kinds) -> float:
    return float(np.mean([scores[kinds == kind].mean() for kind in KINDS]))


def _first(reply: str, item: Item) -> str:
    """Whether the glance that a reply begins with is right."""
    found = _GLANCE.match(reply)
    if found is None or found[1] not in item.options:
        return "-"
    return "o" if item.options[LETTERS.index(item.accepted[0])] == found[1] else "x"


@lru_cache(maxsize=2)
def _items(benchmark: str) -> tuple[Item, ...]:
    return tuple(sorted(boards_bench.items(sets=_SETS[benchmark]), key=lambda item: item.id))


def _fingerprint(items: Sequence[Item]) -> str:
    return digest("boards-bench", *(part for item in items for part in (item.id, item.question, *item.options)))[
        :16
    ]
