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
    path().parent.mkdir(parents=True, exist_ok=True)
    part = path().with_suffix(".part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode({**load(), **new}), indent=1))
    part.replace(path())


def today() -> str:
    """The date of a result."""
    return dt.datetime.now(dt.timezone.utc).date().isoformat()


def page() -> str:
    """The page, from all results that are kept."""
    rows = ""
    order = list(environments.ENVIRONMENTS)
    for key, result in sorted(load().items(), key=lambda item: (order.index(item[1]["tool"]), item[0])):
        if not key:
            continue
        said = "yes" if result["passed"] else "**no**"
        detail = f": {_cell(result['detail'])}" if result["detail"] else ""
        tool = environments.ENVIRONMENTS[result["tool"]].tool
        rows += f"| {tool} | {result['version']} | {_cell(result['check'])} | {said}{detail} | {result['date']} |\n"
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


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
