"""What the checks against real tools showed: kept as JSON beside the environments, written out as a page.

python scripts/real/results.py docs/integrations.md
"""

import datetime as dt
import sys
from pathlib import Path
from typing import TypedDict

import msgspec

import environments

_PAGE = """\
# Checked against real tools

Written by `make test-real` from what its checks showed; not by hand. Each tool is installed into an environment of
its own and driven with tiny models of random weights: what is proven is the protocol and the bookkeeping, not
quality. A failure is written as one.

| tool | version | checked | result | date |
|---|---|---|---|---|
{rows}
## The environments

| environment | installed | size | time to install |
|---|---|---|---|
{environments}"""


class Result(TypedDict):
    """One row of the table."""

    tool: str
    version: str
    check: str
    passed: bool
    detail: str
    seconds: float
    date: str


def path() -> Path:
    """Where results are kept."""
    return environments.CACHE / "results.json"


def load() -> dict[str, Result]:
    """All results, by test."""
    return msgspec.json.decode(path().read_bytes(), type=dict[str, Result]) if path().exists() else {}


def keep(new: dict[str, Result]) -> None:
    """Put results in the place of those of the same tests."""
    _write({**load(), **new})


def _write(results: dict[str, Result]) -> None:
    path().parent.mkdir(parents=True, exist_ok=True)
    part = path().with_suffix(".part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    part.replace(path())


def prune(files: set[str], tests: set[str]) -> None:
    """Forget the results of these files' tests that there no longer are."""
    kept = {test: result for test, result in load().items() if test in tests or test.split("::")[0] not in files}
    _write(kept)


def today() -> str:
    """The date of a result."""
    return dt.datetime.now(dt.timezone.utc).date().isoformat()


def page() -> str:
    """The page, from all results that are kept."""
    order = list(environments.ENVIRONMENTS)
    cases: dict[tuple[str, str], list[Result]] = {}
    for result in load().values():  # in the order in which they were run
        cases.setdefault((result["tool"], result["check"]), []).append(result)
    rows = "".join(_row(cases[case]) for case in sorted(cases, key=lambda case: order.index(case[0])))
    built = ""
    for name in environments.ENVIRONMENTS:
        if environments.ready(name):
            told = environments.told(name)
            versions = msgspec.convert(told["versions"], dict[str, str | None])
            installed = ", ".join(f"{package} {version}" for package, version in versions.items() if version)
            size, seconds = msgspec.convert(told["bytes"], int) / 1e9, told["seconds"]
            built += f"| {name} | {installed} | {size:.1f} GB | {seconds} s |\n"
        else:
            built += f"| {name} | not built here | | |\n"
    return _PAGE.format(rows=rows, environments=built)


def _row(cases: list[Result]) -> str:
    """A line of the table: all cases of one check."""
    first = cases[0]
    failed = [case for case in cases if not case["passed"]]
    said = "yes" if not failed else f"**no** ({len(failed)} of {len(cases)} cases)" if cases[1:] else "**no**"
    said += f" ({len(cases)} cases)" if cases[1:] and not failed else ""
    details = dict.fromkeys(case["detail"] for case in failed or cases if case["detail"])
    tool = environments.ENVIRONMENTS[first["tool"]].tool
    cells = (
        tool,
        first["version"],
        first["check"],
        f"{said}: {'; '.join(details)}" if details else said,
        max(case["date"] for case in cases),
    )
    return f"| {' | '.join(map(_cell, cells))} |\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
