"""What the doctor found: a table of what each model can do, and one of what the recipe needs."""

from collections.abc import Mapping, Sequence

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lpt.look.safe import safe
from lpt.models.checkup import CAPABILITIES, Can, Checkup, Finding
from lpt.needs import Need

_STYLES: Mapping[Can, str] = {"yes": "green", "no": "red", "unsure": "yellow"}


def as_json(checkups: Mapping[str, Checkup], needed: Sequence[Need], warned: Sequence[str]) -> str:
    """Everything, for machines."""
    return msgspec.json.encode(
        {
            "ok": not any(need.missing for need in needed),
            "models": list(checkups.values()),
            "needs": needed,
            "warnings": warned,
        }
    ).decode()


def print_checkups(
    checkups: Mapping[str, Checkup], needed: Sequence[Need], warned: Sequence[str], console: Console
) -> None:
    """Print both tables, then what to change."""
    console.print(_models(checkups))
    console.print()
    console.print(_needs(needed))
    for warning in warned:
        console.print(Text(f"\nwarning: {safe(warning)}", style="yellow"))
    missing = [need for need in needed if need.missing]
    if not missing:
        open_ = sum(need.met == "unsure" for need in needed)
        rest = f", as far as could be told ({open_} open)" if open_ else ""
        console.print(Text(f"\nThe models can do what the recipe needs{rest}.", style="green"))
        return
    console.print(Text("\nWhat the recipe needs and does not get; to change in it:", style="red"))
    for change in dict.fromkeys(need.change for need in missing):
        console.print(Text(f"  {safe(change)}"), soft_wrap=True)


def _models(checkups: Mapping[str, Checkup]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for checkup in checkups.values():
        title = checkup.name if checkup.name == checkup.model else f"{checkup.name} ({checkup.model})"
        table.add_column(Text(safe(title)), overflow="fold")
    for what in CAPABILITIES:
        found = [checkup.findings.get(what) for checkup in checkups.values()]
        if any(found):
            table.add_row(what, *map(_cell, found))
    return table


def _cell(finding: Finding | None) -> Text:
    if finding is None:
        return Text("not asked", style="dim")
    cell = Text(finding.can, style=_STYLES[finding.can])
    if finding.why:
        cell.append(f" {safe(finding.why)}", style="dim")
    return cell


def _needs(needed: Sequence[Need]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("stage", "needs", "of", "met"):
        table.add_column(name, no_wrap=name != "needs")
    table.add_column("why not, and what to change", overflow="fold")
    for need in needed:
        met = "no, but can do without" if need.met == "no" and need.level == "helps" else need.met
        style = "yellow" if need.met == "no" and need.level == "helps" else _STYLES[need.met]
        why = Text(safe(need.why), style="dim")
        if need.change:
            why.append(f"{': ' if need.why else ''}{safe(need.change)}", style="bold" if need.missing else "")
        table.add_row(need.stage, need.what, Text(safe(need.model)), Text(met, style=style), why)
    return table
