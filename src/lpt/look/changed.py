"""What is about to change in a run folder that is there: where its recipe and the new one differ."""

import re
from pathlib import Path
from typing import Any

import msgspec

from lpt.errors import LptError
from lpt.look.safe import safe
from lpt.recipe import Recipe

_LINES = 8
_WIDEST = 60
_ABSENT = object()


def changed(out: Path, recipe: Recipe) -> list[str]:
    """Each setting that differs from the recipe that the folder was last run with, as `key: old → new`.

    Empty where there is no run yet, or one of the same recipe. Of headers, which may hold keys, the name is said.
    """
    if not (out / "recipe.toml").exists():
        return []
    try:
        old, new = Recipe.load(out / "recipe.toml").flat(), recipe.flat()
    except LptError:  # of another version, or damaged: it is about to be replaced
        return []
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    lines = [f"{key}: {_said(key, old, new)}" for key in keys[:_LINES]]
    return [safe(line) for line in lines] + ([f"and {len(keys) - _LINES} more"] if len(keys) > _LINES else [])


def _said(key: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    if ".headers." in key:
        return "changed"
    return f"{_shown(old.get(key, _ABSENT))} → {_shown(new.get(key, _ABSENT))}"


def _shown(value: Any) -> str:
    if value is None or value is _ABSENT:
        return "not set"
    text = re.sub(r"//[^/@\s\"]*@", "//…@", msgspec.json.encode(value).decode())
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}…"
