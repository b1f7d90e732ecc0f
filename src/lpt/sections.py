"""Settings in TOML: read, checked, overridden and printed, whatever they are settings of.

What is not known is refused with the key's path, its line, and the nearest right name.
"""

import datetime as dt
import difflib
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from lpt.errors import RecipeError
from lpt.settings import Section

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Read = TypeVar("Read", bound=Section)

_DATES = (dt.datetime, dt.date, dt.time)
_MOST_BYTES = 2**20
_MOST_DOTS = 5_000
"""A key of thousands of parts (`a.a.a.…`) costs the reader of TOML their square in memory."""


def read_text(path: Path) -> str:
    """The text of a recipe file.

    Raises:
        RecipeError: it is not there, or is no text that a recipe can be.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)  # never more: it may be a device without an end
        if len(data) > _MOST_BYTES or data.count(b".") > _MOST_DOTS:
            raise RecipeError(f"{path} is no recipe: it is longer than one can be, or has more dots")
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise RecipeError(f"there is no recipe at {path}") from None
    except (OSError, ValueError) as error:
        raise RecipeError(f"the recipe {path} cannot be read: {error}") from error


def parse(text: str, kind: type[Read], *, name: str, overrides: Sequence[str] = ()) -> Read:
    """Read settings of a kind from their text; `name` stands in errors.

    Raises:
        RecipeError: not TOML, an unknown key, a wrong type or value.
    """
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise RecipeError(f"{name} is not valid TOML: it is nested too deeply") from None
    except ValueError as error:  # not TOML, or a number of thousands of digits
        raise RecipeError(f"{name} is not valid TOML: {error}") from error
    lines = _key_lines(text)
    for override in overrides:
        path, value = _override(override)
        _put(data, path, value, override)
        lines[".".join(path)] = 0
    return _convert(data, kind, name, lines)


def toml(settings: Section) -> str:
    """Settings as TOML, all of them spelt out (those that are None are left out: TOML has no null)."""
    return "\n".join(_toml(msgspec.to_builtins(settings, builtin_types=_DATES), ())).strip() + "\n"


def _override(text: str) -> tuple[list[str], Any]:
    key, _, value = text.partition("=")
    try:
        text.encode()
        inner: Any = tomllib.loads(f"{key} = 0") if key.count(".") < _MOST_DOTS else 0
    except (ValueError, RecursionError):  # not a key, or not text
        inner = 0
    path: list[str] = []
    while isinstance(inner, dict) and len(inner) == 1:
        ((part, inner),) = inner.items()
        path.append(part)
    if not path or inner != 0 or "=" not in text:
        raise RecipeError(f'--set wants key=value, as in --set think.samples=4; got "{text}"')
    try:
        (found,) = tomllib.loads(f"value = {value}").items()
        return path, found[1]
    except (ValueError, RecursionError):  # not TOML, or more than one value
        return path, value.strip()


def _put(data: dict[str, Any], path: list[str], value: Any, override: str) -> None:
    *parents, last = path
    for parent in parents:
        data = data.setdefault(parent, {})
        if not isinstance(data, dict):
            raise RecipeError(f'--set {override}: "{parent}" is a value, not a section')
    data[last] = value


def _convert(data: dict[str, Any], kind: type[Read], name: str, lines: Mapping[str, int]) -> Read:
    def where(path: str) -> str:
        path = re.sub(r"\[\d+\]", "", path)
        while path and path not in lines:
            path = path.rpartition(".")[0]
        line = lines.get(path, 0)
        return f"{name}, line {line}" if line else f"{name}, --set" if path in lines else name

    for path, known in _unknown(data, kind, ""):
        key = path.rpartition(".")[2]
        raise RecipeError(f"{where(path)}: there is no setting `{path}`{nearest(key, known)}")
    at = ""
    told: Any = kind
    try:
        for field in msgspec.structs.fields(kind):
            tables = data.get(field.name)
            if typing.get_origin(field.type) is dict and isinstance(tables, dict):
                told = typing.get_args(field.type)[1]
                for key, table in tables.items():
                    at = f"{field.name}.{key}"  # a dict's keys are missing from the paths that msgspec gives
                    msgspec.convert(table, told, strict=True)
        at, told = "", kind
        return msgspec.convert(data, kind, strict=True)
    except msgspec.ValidationError as error:
        message, _, inner = str(error).partition(" - at `$")
        inner = inner.strip("`").replace("[...]", "")
        path = f"{at}{inner}".lstrip(".")
        message = f"{message[:1].lower()}{message[1:]}".replace(" | null", "").replace("`object`", "a section")
        hint = ""
        if message.startswith("invalid enum value"):
            hint = f"; it can be {', '.join(_values(told, inner.lstrip('.')))}"
        raise RecipeError(f"{where(path)}: `{path or name}`: {message}{hint}") from None


def _values(kind: Any, path: str) -> tuple[str, ...]:
    """The values that the setting at a path can have, where they are few."""
    for part in path.split("."):
        section = next(k for k in (kind, *typing.get_args(kind)) if isinstance(k, type) and issubclass(k, Section))
        kind = {field.name: field.type for field in msgspec.structs.fields(section)}[part.partition("[")[0]]
    return tuple(_told(kind))


def _told(kind: Any) -> Iterator[str]:
    """What a setting of a type can be, where a text must be one of a few."""
    if typing.get_origin(kind) is typing.Literal:
        yield from typing.get_args(kind)
    elif kind is int:
        yield "a whole number"
    else:
        for option in typing.get_args(kind):
            yield from _told(option)


def _unknown(data: Any, kind: Any, path: str) -> Iterator[tuple[str, list[str]]]:
    """Walk data beside the type that it should have, yielding each unknown key and the names known there."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        for option in typing.get_args(kind):
            if isinstance(option, type) and issubclass(option, Section):
                kind = option
    if typing.get_origin(kind) is dict and isinstance(data, dict):
        value_kind = typing.get_args(kind)[1]
        for key, value in data.items():
            yield from _unknown(value, value_kind, f"{path}.{key}".lstrip("."))
    elif isinstance(kind, type) and issubclass(kind, Section) and isinstance(data, dict):
        fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
        for key, value in data.items():
            inner = f"{path}.{key}".lstrip(".")
            if key not in fields:
                yield inner, list(fields)
            else:
                yield from _unknown(value, fields[key], inner)


def nearest(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """The end of a message about a name that there is none of: the nearest one that there is, or all of them."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    if close:
        return f"; did you mean `{close[0]}`?"
    return f"; there are: {', '.join(known)}" if known else ""


def _key_lines(text: str) -> dict[str, int]:
    """The line of every `[table]` and `key =` in a TOML text: good enough to point a person to it."""
    lines: dict[str, int] = {}
    table = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.startswith("["):
            table = ".".join(part.strip(" \"'") for part in line.strip("[]# ").partition("]")[0].split("."))
            lines[table] = number
        elif "=" in line and not line.startswith("#"):
            key = ".".join(part.strip(" \"'") for part in line.partition("=")[0].split("."))
            lines[f"{table}.{key}".lstrip(".")] = number
    return lines


def _toml(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Write plain values first, then sub-tables: the order that TOML asks for."""
    plain = {key: value for key, value in table.items() if value is not None}
    tables = {key: plain.pop(key) for key, value in table.items() if value and isinstance(value, dict)}
    if path and plain:
        yield ""
        yield f"[{'.'.join(_key(part) for part in path)}]"
    for key, value in plain.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in tables.items():
        yield from _toml(value, (*path, key))


def _key(key: str) -> str:
    return key if key and all(c.isascii() and (c.isalnum() or c in "_-") for c in key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON escapes are TOML escapes, but for DEL, which TOML wants escaped, too.
        return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    return value.isoformat() if isinstance(value, _DATES) else repr(value)
