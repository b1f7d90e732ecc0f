"""The recipe: one TOML file that says everything a run does.

`Recipe.load` reads one, applies `--set` overrides, and refuses what it does not know with the key's path, its
line, and the nearest right name. `recipe.toml()` prints it fully resolved, and that loads as the same recipe.
"""

import datetime as dt
import difflib
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lpt.errors import RecipeError
from lpt.paths import expanded
from lpt.settings import (
    AskSettings,
    BudgetSettings,
    CaptionSettings,
    CurateSettings,
    ModelSettings,
    QuestionSettings,
    RunSettings,
    Section,
    ThinkHarderSettings,
    ThinkSettings,
    VerifySettings,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_DATES = (dt.datetime, dt.date, dt.time)
_MOST_BYTES = 2**20
_MOST_DOTS = 5_000
"""A key of thousands of parts (`a.a.a.…`) costs the reader of TOML their square in memory."""


class Recipe(Section, frozen=True, kw_only=True):
    """A whole recipe. Sections that a run does not need (an import has no models) may be missing."""

    seed: int = 0
    """Every random choice is drawn from (seed, record id, purpose)."""
    ledger: str | None = None
    """A ledger that several runs share, relative to the recipe's folder. None: `RUN/ledger.sqlite`."""
    captions: CaptionSettings = CaptionSettings()
    models: dict[str, ModelSettings] = {}
    questions: QuestionSettings | None = None
    """Questions of your own, in the place of `ask`; their images come with them, not from `captions`."""
    ask: AskSettings | None = None
    think: ThinkSettings | None = None
    think_harder: ThinkHarderSettings | None = None
    budget: BudgetSettings = BudgetSettings()
    verify: VerifySettings = VerifySettings()
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
            with path.open("rb") as file:
                data = file.read(_MOST_BYTES + 1)  # never more: it may be a device without an end
            if len(data) > _MOST_BYTES or data.count(b".") > _MOST_DOTS:
                raise RecipeError(f"{path} is no recipe: it is longer than one can be, or has more dots")
            text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        except FileNotFoundError:
            raise RecipeError(f"there is no recipe at {path}") from None
        except (OSError, ValueError) as error:
            raise RecipeError(f"the recipe {path} cannot be read: {error}") from error
        return Recipe.parse(text, name=str(path), overrides=overrides).located(path.resolve().parent)

    @staticmethod
    def parse(text: str, *, name: str = "recipe", overrides: Sequence[str] = ()) -> "Recipe":
        """Read a recipe from its text; `name` stands in errors. Paths stay as they are."""
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
        return _convert(data, name, lines)

    def located(self, base: Path) -> "Recipe":
        """The same recipe with its relative paths resolved against `base`."""

        def at(path: str | None) -> str | None:
            return None if path is None else str(base / expanded(path, RecipeError))

        def data_set(source: str, path: str | None) -> str | None:
            # A hub's id looks like a relative path; it is one only where it leads somewhere.
            return (
                path
                if path and source == "hub" and not (base / path).exists() and path[0] not in "./~"
                else at(path)
            )

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
                self.captions,
                source=source,
                path=data_set(source, self.captions.path),
                images=at(self.captions.images),
            ),
            questions=self.questions
            and replace(
                self.questions,
                path=data_set(self.questions.source, self.questions.path),
                images=at(self.questions.images),
                prompt=at(self.questions.prompt),
            ),
            models={name: replace(model, template=template(model.template)) for name, model in self.models.items()},
            ask=self.ask and replace(self.ask, prompt=at(self.ask.prompt)),
            think=self.think and replace(self.think, prompt=at(self.think.prompt)),
            think_harder=self.think_harder and replace(self.think_harder, prompt=at(self.think_harder.prompt)),
            verify=VerifySettings(
                **{
                    name: check and replace(check, prompt=at(check.prompt))
                    for name, check in msgspec.structs.asdict(self.verify).items()
                }
            ),
            curate=replace(
                self.curate,
                filters=self.curate.filters
                and tuple(str(base / f) if f.partition(":")[0].endswith(".py") else f for f in self.curate.filters),
            ),
        )

    def toml(self) -> str:
        """The recipe as TOML, every setting spelt out (those that are None are left out: TOML has no null)."""
        return "\n".join(_toml(msgspec.to_builtins(self, builtin_types=_DATES), ())).strip() + "\n"

    def flat(self) -> dict[str, Any]:
        """Every setting by its dotted path, such as `think.samples`."""

        def walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
            if isinstance(value, dict):
                for key, inner in value.items():
                    yield from walk(inner, f"{path}.{key}".lstrip("."))
            else:
                yield path, value

        return dict(walk(msgspec.to_builtins(self), ""))

    def check_verify(self) -> None:
        """See that `lpt verify` has something to do, and models that can be asked.

        Raises:
            RecipeError: naming the setting and, for a model, the nearest right name.
        """
        checks = {name: check for name, check in msgspec.structs.asdict(self.verify).items() if check}
        if not checks:
            raise RecipeError(
                "the recipe has no check to make: add a section such as [verify.blind] with a `model`, "
                "or --set verify.blind.model=NAME"
            )
        for name, check in checks.items():
            if check.model not in self.models:
                hint = _nearest(check.model, self.models)
                raise RecipeError(
                    f'verify.{name}.model is "{check.model}", but there is no [models.{check.model}]{hint}'
                )

    def used_by(self) -> dict[str, str]:
        """Which model each stage asks, by the stages that the recipe has."""
        stages = {"ask": self.ask, "think": self.think, "think_harder": self.think_harder}
        return {stage: settings.model for stage, settings in stages.items() if settings}

    def check_models(self, until: str = "think_harder") -> None:
        """See that the stages are there up to `until`, name models that exist, and ask for what can be had.

        With questions of one's own there is no [ask], and nothing is needed of a stage that is not come to.

        Raises:
            RecipeError: naming the setting and, for a model, the nearest right name.
        """
        stages = ["ask", "think", "think_harder"]
        if self.questions:
            self._check_questions()
            # Thoughts are part of it even with --until ask: how a question is shown is their setting.
            stages = stages[1 : 3 if until == "think_harder" else 2]
        for stage in stages:
            settings = getattr(self, stage)
            if settings is None:
                raise RecipeError(f"the recipe has no [{stage}] section: say at least which model it asks")
            if settings.model not in self.models:
                hint = _nearest(settings.model, self.models)
                raise RecipeError(
                    f'{stage}.model is "{settings.model}", but there is no [models.{settings.model}]{hint}'
                )
            samples = getattr(settings, "samples", 1)
            if samples > 1 and settings.temperature == 0:
                raise RecipeError(
                    f"{stage}.samples is {samples} with {stage}.temperature = 0: all would be the same, and some "
                    f"servers refuse. Set {stage}.samples = 1, or a temperature above 0"
                )
        cues = [cue.rstrip() for cue in self.think_harder.cues] if self.think_harder else []
        if twice := [cue for i, cue in enumerate(cues) if cue in cues[:i]]:
            raise RecipeError(f'think_harder.cues holds "{twice[0]}" twice (white space at its end does not count)')
        for name, model in self.models.items():
            if bool(model.url) == bool(model.launch):
                raise RecipeError(
                    f"models.{name} needs `url` (a server that runs) or `launch` (a command to start one), not both"
                )

    def _check_questions(self) -> None:
        assert self.questions
        if self.ask:
            raise RecipeError("the recipe has [questions] and [ask]: take one out")
        if self.captions.path is not None or self.captions.source != CaptionSettings().source:
            raise RecipeError(
                "the recipe has [questions], whose images come with them, and a source in [captions]: take "
                "captions.source and captions.path out (captions.max_pixels and the like stay)"
            )
        model = self.questions.options_from
        if model is not None and model not in self.models:
            hint = _nearest(model, self.models)
            raise RecipeError(f'questions.options_from is "{model}", but there is no [models.{model}]{hint}')


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


def _convert(data: dict[str, Any], name: str, lines: Mapping[str, int]) -> Recipe:
    def where(path: str) -> str:
        path = re.sub(r"\[\d+\]", "", path)
        while path and path not in lines:
            path = path.rpartition(".")[0]
        line = lines.get(path, 0)
        return f"{name}, line {line}" if line else f"{name}, --set" if path in lines else name

    for path, known in _unknown(data, Recipe, ""):
        key = path.rpartition(".")[2]
        raise RecipeError(f"{where(path)}: there is no setting `{path}`{_nearest(key, known)}")
    at = ""
    try:
        models = data.get("models")
        for key, model in models.items() if isinstance(models, dict) else ():
            at = f"models.{key}"  # a dict's keys are missing from the paths that msgspec gives
            msgspec.convert(model, ModelSettings, strict=True)
        at = ""
        return msgspec.convert(data, Recipe, strict=True)
    except msgspec.ValidationError as error:
        message, _, inner = str(error).partition(" - at `$")
        inner = inner.strip("`").replace("[...]", "")
        path = f"{at}{inner}".lstrip(".")
        message = f"{message[:1].lower()}{message[1:]}".replace(" | null", "").replace("`object`", "a section")
        hint = ""
        if message.startswith("invalid enum value"):
            hint = f"; it can be {', '.join(_values(ModelSettings if at else Recipe, inner.lstrip('.')))}"
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
