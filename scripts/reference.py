"""Write the parts of docs/ that the code knows better: settings, tables, commands, dials.

A page holds marks, `<!-- generated: NAME -->` … `<!-- end -->`; what stands between them is written here, from the
code. All else on a page is by hand.

    python scripts/reference.py            # write
    python scripts/reference.py --check    # say which pages are out of date, exit status 1 if any is
"""

import contextlib
import inspect
import re
import sqlite3
import sys
import tempfile
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import typer
from typer.models import ArgumentInfo

from lpt import documented
from lpt.cli import app
from lpt.curate.filters import DEFAULT, FILTERS, JUDGED
from lpt.curate.near import NAME as NEAR
from lpt.recipe import Recipe
from lpt.serving.dials import FAULTS
from lpt.serving.dials import Dials as ServerDials
from lpt.settings import Section
from lpt.store.ledger import Ledger
from lpt.store.tables import TABLES, schema
from lpt.train.settings import TrainRecipe
from lpt.world.dials import Dials as RoleDials

DOCS = Path(__file__).parents[1] / "docs"
_BLOCK = re.compile(r"(<!-- generated: ([^>]+) -->\n).*?(<!-- end -->)", re.DOTALL)

Row = tuple[str, ...]


def table(head: Row, rows: Iterable[Row]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    """A text as it may stand in a cell: outside of code a tag would be one, and vanish."""
    pieces = text.replace("|", "\\|").split("`")
    return "`".join(piece if i % 2 else piece.replace("<", "&lt;") for i, piece in enumerate(pieces))


def settings(recipe: type[Section] = Recipe) -> str:
    """Every section of a recipe with its settings."""
    parts = [f"## Above all sections\n\n{table(_HEAD, list(_rows(recipe, sections=False)))}"]
    for name, kind in _sections(recipe, ""):
        rows = list(_rows(kind, sections=False))
        parts.append(f"## `[{name}]`\n\n{_first(kind)}" + (f"\n\n{table(_HEAD, rows)}" if rows else ""))
    return "\n\n".join(parts)


_HEAD = ("setting", "what it can be", "default", "meaning")


def _sections(kind: type[Section], path: str) -> Iterator[tuple[str, type[Section]]]:
    for field in msgspec.structs.fields(kind):
        inner = _section(field.type)
        if inner is None:
            continue
        name = f"{path}.{field.name}".lstrip(".")
        name += ".NAME" if typing.get_origin(field.type) is dict else ""
        yield name, inner
        yield from _sections(inner, name)


def _section(hint: Any) -> type[Section] | None:
    """The section that a field is, or holds several of."""
    for kind in (hint, *typing.get_args(hint)):
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind
    return None


def _rows(kind: type[Section], *, sections: bool) -> Iterator[Row]:
    meanings = documented.fields(kind)
    for field in msgspec.structs.fields(kind):
        if sections or _section(field.type) is None:
            yield f"`{field.name}`", " or ".join(_kinds(field.type)), _default(field), meanings[field.name]


def _kinds(hint: Any) -> list[str]:
    """What a value can be, in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        kind, *metas = inner
        (said,) = _kinds(kind)
        bounds = [_bounds(meta) for meta in metas if isinstance(meta, msgspec.Meta)]
        return [" ".join([said, *filter(None, bounds)])]
    if origin in (typing.Union, types.UnionType):
        return [said for kind in inner if kind is not type(None) for said in _kinds(kind)]
    if origin is typing.Literal:
        return [" ".join(f"`{value}`" for value in inner)]
    if origin is tuple:
        (said,) = _kinds(inner[0])
        return [f"list of {said}" if said != "text" else "list of texts"]
    if origin is dict:
        return ["section of texts" if inner[1] is str else "section"]
    return [{str: "text", int: "whole number", float: "number", bool: "`true` `false`"}[hint]]


def _bounds(meta: msgspec.Meta) -> str:
    low = meta.ge if meta.ge is not None else meta.gt
    high = meta.le if meta.le is not None else meta.lt
    if meta.min_length:
        return "(one at least)"
    if low is not None and high is not None:
        strict = (" (without it)" if meta.gt is not None else "", " (without it)" if meta.lt is not None else "")
        return f"from {low:g}{strict[0]} to {high:g}{strict[1]}"
    return f"above {low:g}" if meta.gt is not None else f"from {low:g}" if low is not None else ""


def _default(field: Any) -> str:
    if field.required:
        return "**needed**"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if value is None or value in ({}, ()):
        return "—"
    said = [msgspec.json.encode(part).decode() for part in (value if isinstance(value, tuple) else (value,))]
    return f"`[{', '.join(said)}]`" if isinstance(value, tuple) else f"`{said[0]}`"


def _first(kind: type) -> str:
    return " ".join((kind.__doc__ or "").split("Raises:")[0].split())


def tables() -> str:
    """Every table of a run with its columns."""
    parts = []
    for name, kind in TABLES.items():
        meanings = documented.fields(kind)
        types_ = {
            field.name: f"{_ARROW.get(str(field.type), field.type)}{', may be null' if field.nullable else ''}"
            for field in schema(kind)
        }
        rows: list[Row] = [(f"`{column}`", type_, meanings[column]) for column, type_ in types_.items()]
        parts.append(f"### `{name}.parquet`\n\n{_first(kind)}\n\n{table(('column', 'type', 'meaning'), rows)}")
    return "\n\n".join(parts)


_ARROW = {"double": "float64", "list<item: string>": "list of strings", "list<element: string>": "list of strings"}


def ledger_schema() -> str:
    """The ledger's tables, as a new one says itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        Ledger(path).close()
        with contextlib.closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return "```sql\n" + "\n".join(f"{sql};" for (sql,) in rows) + "\n```"


def command(path: str) -> str:
    """One verb: its help, its arguments, its options."""
    verb = verbs()[path]
    hints = typing.get_type_hints(verb, include_extras=True)
    needed, rows = [], []
    more = False
    for name, parameter in inspect.signature(verb).parameters.items():
        kind, said = typing.get_args(hints[name])
        left = parameter.default is inspect.Parameter.empty
        default = "needed" if left else f"`{parameter.default}`" if parameter.default not in _SAYS_NOTHING else ""
        if isinstance(said, ArgumentInfo):
            word = said.metavar or name.upper()
            needed.append(word if left else f"[{word}]")
        else:
            # Within Annotated the first name stands where a default would.
            names = [named for named in (said.default, *(said.param_decls or ())) if isinstance(named, str)]
            names = names or [f"--{name.replace('_', '-')}"]
            value = said.metavar or _VALUES.get(next(iter(typing.get_args(kind)), kind), "TEXT")
            word = f"{', '.join(names)} {value}".strip()
            needed += [f"{names[0]} {value}"] if left else []
            more = more or not left
        rows.append((f"`{word}`", said.help or "", default))
    usage = f"`{' '.join([path, *needed])}{' [OPTIONS]' if more else ''}`"
    return "\n\n".join([usage, *_paragraphs(verb.__doc__), table(("", "meaning", "default"), rows)])


_SAYS_NOTHING = (None, "", False)
_VALUES: Mapping[Any, str] = {bool: "", int: "N", Path: "PATH"}


def verbs(group: typer.Typer = app, path: str = "lpt") -> dict[str, Callable[..., None]]:
    """Every verb, as it is typed."""
    found: dict[str, Callable[..., None]] = {}
    for info in group.registered_commands:
        assert info.callback
        found[f"{path} {info.name or info.callback.__name__}"] = info.callback
    for inner in group.registered_groups:
        assert inner.typer_instance
        found.update(verbs(inner.typer_instance, f"{path} {inner.name or inner.typer_instance.info.name}"))
    return found


def _paragraphs(text: str | None) -> list[str]:
    return [" ".join(part.split()) for part in (text or "").split("\n\n")]


def dials() -> str:
    """What can be set about the simulation."""
    parts = []
    for title, kind in (("The models", RoleDials), ("The server", ServerDials)):
        meanings, values = documented.fields(kind), msgspec.structs.asdict(kind())
        rows: list[Row] = [
            (f"`{name}`", "—" if value in ("", None) else f"`{value}`", meanings[name])
            for name, value in values.items()
            if name != "faults"  # these have a table of their own
        ]
        parts.append(f"### {title}\n\n{table(('dial', 'at rest', 'meaning'), rows)}")
    faults: list[Row] = [(f"`{name}`", meaning) for name, meaning in FAULTS.items()]
    parts.append(f"### Faults\n\n{table(('fault', 'what the client sees'), faults)}")
    return "\n\n".join(parts)


def filters() -> str:
    """Every built-in filter: the reason, and what goes."""
    rows: list[Row] = [
        (f"`{name}`", _first(rule), "on" if name in DEFAULT else "off")  # type: ignore[arg-type]
        for name, rule in {**FILTERS, **JUDGED}.items()
    ]
    rows.append((f"`{NEAR}`", "As good as the same as one that stays (setting `similarity`).", "off"))
    return table(("reason", "what goes", "by default"), rows)


PARTS: Mapping[str, Callable[[], str]] = {
    "settings": settings,
    "training settings": lambda: settings(TrainRecipe),
    "tables": tables,
    "ledger": ledger_schema,
    "dials": dials,
    "filters": filters,
}


def filled(text: str) -> str:
    """A page with its generated parts as the code has them now."""

    def fill(found: re.Match[str]) -> str:
        name = found[2].strip()
        return f"{found[1]}\n{PARTS[name]() if name in PARTS else command(name)}\n\n{found[3]}"

    return _BLOCK.sub(fill, text)


def main() -> int:
    """Write the pages, or say which would change."""
    stale = []
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        new = filled(text)
        if new == text:
            continue
        stale.append(page)
        if "--check" not in sys.argv[1:]:
            page.write_text(new, encoding="utf-8")
    if "--check" not in sys.argv[1:]:
        return 0
    shown = (DOCS / "commands.md").read_text(encoding="utf-8")
    missing = [verb for verb in verbs() if f"<!-- generated: {verb} -->" not in shown]
    for page in stale:
        print(f"{page.relative_to(DOCS.parent)} is out of date: make docs", file=sys.stderr)
    for verb in missing:
        print(f"docs/commands.md has no part for `{verb}`", file=sys.stderr)
    return 1 if stale or missing else 0


if __name__ == "__main__":
    sys.exit(main())
