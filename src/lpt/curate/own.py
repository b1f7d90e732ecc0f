"""Objects of the user's own: `path.py:function` or `module:function`."""

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lpt.errors import UserError
from lpt.records import digest


def load_object(name: str, setting: str, known: Iterable[str]) -> Any:
    """Load what a recipe names.

    Args:
        name: `path.py:function` or `module:function`.
        setting: the setting that names it, for errors.
        known: the built-in names, for errors.

    Raises:
        UserError: no such file, module or function, or one that fails to load.
    """
    place, colon, attribute = name.rpartition(":")
    if not colon or not place or not attribute:
        close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
        hint = f"; did you mean `{close[0]}`?" if close else f"; there are: {', '.join(known)}"
        raise UserError(f"{setting}: there is no `{name}`{hint} (your own go as `path.py:function`)")
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:
        raise UserError(f"{setting}: {place} cannot be loaded: {type(error).__name__}: {error}") from error
    loaded = getattr(module, attribute, None)
    if not callable(loaded):
        raise UserError(f"{setting}: {place} has no function `{attribute}`")
    return loaded


def _from_file(path: Path) -> Any:
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    name = f"lpt_own_{digest(str(path.resolve()))[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
