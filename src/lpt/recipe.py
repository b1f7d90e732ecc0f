"""The recipe: one TOML file that says everything a run does.

`Recipe.load` reads one, applies `--set` overrides, and refuses what it does not know with the key's path, its
line, and the nearest right name. `recipe.toml()` prints it fully resolved, and that loads as the same recipe.
"""

import difflib
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lpt.errors import RecipeError
from lpt.settings import (
    AskSettings,
    CaptionSettings,
    CurateSettings,
    ModelSettings,
    RunSettings,
    Section,
    ThinkHarderSettings,
    ThinkSettings,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Recipe(Section, frozen=True, kw_only=True):
    """A whole recipe. Sections that a run does not need (an import has no models) may be missing."""

    seed: int = 0
    """Every random choice is drawn from (seed, record id, purpose)."""
    ledger: str | None = None
    """A ledger that several runs share, relative to the recipe's folder. None: `RUN/ledger.sqlite`."""
    captions: CaptionSettings = CaptionSettings()
    models: dict[str, ModelSettings] = {}
    ask: AskSettings | None = None
    think: ThinkSettings | None = None
    think_harder: ThinkHarderSettings | None = None
    curate: CurateSettings = CurateSettings()
    run: RunSettings = RunSettings()

    @staticmethod
    def load(path: str | Path, overrides: Sequence[str] = ()) -> "Recipe":
        """Read a recipe file and apply `key.path=value` overrides, whose values are TOML (or a bare word).

        Relative paths in it are made absolute against the file's folder.

        Raises:
            RecipeError: not there, not TOML, an unknown key, a wrong type or value.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise RecipeError(f"there is no recipe at {path}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"the recipe {path} cannot be read: {error}") from error
        return Recipe.parse(text, name=str(path), overrides=overrides).located(path.resolve().parent)

    @staticmethod
    def parse(text: str, *, name: str = "recipe", overrides: Sequence[str] = ()) -> "Recipe":
        """Read a recipe from its text; `name` stands in errors. Paths stay as they are."""
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"{name} is not valid TOML: {error}") from error
        lines = _key_lines(text)
        for override in overrides:
            key, value = _override(override)
            _put(data, key, value, override)
            lines[key] = 0
        return _convert(data, name, lines)

    def located(self, base: Path) -> "Recipe":
        """The same recipe with its relative paths resolved against `base`."""

        def at(path: str | None) -> str | None:
            return None if path is None else str(base / Path(path).expanduser())

        def template(name: str | None) -> str | None:
            # A bare name is a built-in template unless such a file is there.
            return at(name) if name and ((base / name).exists() or "/" in name) else name

        replace = msgspec.structs.replace
        source = self.captions.source
        if source.partition(":")[0].endswith(".py"):
            source = str(base / source)
        return replace(
            self,
            ledger=at(self.ledger),
            captions=replace(
                self.captions, source=source, path=at(self.captions.path), images=at(self.captions.images)
            ),
            models={
                name: replace(model, template=template(model.template)) for name, model in self.models.items()
            },
            ask=self.ask and replace(self.ask, prompt=at(self.ask.prompt)),
            think=self.think and replace(self.think, prompt=at(self.think.prompt)),
            think_harder=self.think_harder and replace(self.think_harder, prompt=at(self.think_harder.prompt)),
            curate=replace(
                self.curate,
                filters=self.curate.filters
                and tuple(
                    str(base / f) if f.partition(":")[0].endswith(".py") else f for f in self.curate.filters
                ),
            ),
        )

    def toml(self) -> str:
        """The recipe as TOML, every setting spelt out (those that are None are left out: TOML has no null)."""
        return "\n".join(_toml(msgspec.to_builtins(self), ())).strip() + "\n"

    def check_models(self) -> None:
        """See that the three stages are there and name models that exist.

        Raises:
            RecipeError: naming the stage and the nearest right name.
        """
        for stage in ("ask", "think", "think_harder"):
            settings = getattr(self, stage)
            if settings is None:
                raise RecipeError(f"the recipe has no [{stage}] section: say at least which model it asks")
            if settings.model not in self.models:
                hint = _nearest(settings.model, self.models)
                raise RecipeError(
                    f'{stage}.model is "{settings.model}", but there is no [models.{settings.model}]{hint}'
                )
        for name, model in self.models.items():
            if (model.url is None) == (model.launch is None):
                raise RecipeError(
                    f"models.{name} needs `url` (a server that runs) or `launch` (a command to start one), not both"
                )


def _override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise RecipeError(f'--set wants key=value, as in --set think.samples=4; got "{text}"')
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value.strip()


def _put(data: dict[str, Any], key: str, value: Any, override: str) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
        if not isinstance(data, dict):
            raise RecipeError(f'--set {override}: "{parent}" is a value, not a section')
    data[last] = value


def _convert(data: dict[str, Any], name: str, lines: Mapping[str, int]) -> Recipe:
    def where(path: str) -> str:
        while path and path not in lines:
            path = path.rpartition(".")[0]
        line = lines.get(path, 0)
        return f"{name}, line {line}" if line else f"{name}, --set" if path in lines else name

    for path, known in _unknown(data, Recipe, ""):
        key = path.rpartition(".")[2]
        raise RecipeError(f"{where(path)}: there is no setting `{path}`{_nearest(key, known)}")
    try:
        return msgspec.convert(data, Recipe, strict=True)
    except msgspec.ValidationError as error:
        message, _, at = str(error).partition(" - at `$")
        path = at.strip("`").lstrip(".").replace("[...]", "")
        raise RecipeError(f"{where(path)}: `{path or name}`: {message[:1].lower()}{message[1:]}") from None


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


def _nearest(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
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
    plain = {key: value for key, value in table.items() if value is not None and not isinstance(value, dict)}
    if path and (plain or not table):
        yield ""
        yield f"[{'.'.join(_key(part) for part in path)}]"
    for key, value in plain.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in table.items():
        if isinstance(value, dict) and value:
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
    return repr(value)
