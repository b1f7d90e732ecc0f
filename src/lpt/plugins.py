"""What a recipe names that is not ours: an object as `path/to/file.py:name` or `module:name`."""

import contextlib
import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from lpt.errors import UserError
from lpt.paths import expanded
from lpt.records import digest


def load_object(spec: str, base: Path | None = None) -> Any:
    """Load the object that a recipe or an option names.

    A file is run anew each time that it is named. While it loads, its folder (for a module: `base`) is on
    `sys.path`, so that it can import what lies beside it.

    Args:
        spec: `path/to/file.py:name` or `module:name`; the name may have dots.
        base: what a relative path is relative to; by default the working directory.

    Raises:
        UserError: not of that form, no such file or module, one that fails to load, or no such name in it.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise UserError(f'"{spec}" does not say what to load: write path/to/file.py:name or module:name')
    base = base or Path.cwd()
    module = _file(place, base, spec) if place.endswith(".py") else _module(place, base, spec)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            close = difflib.get_close_matches(part, [known for known in dir(found) if known[:1] != "_"], n=1)
            hint = f"; did you mean `{close[0]}`?" if close else ""
            raise UserError(f"{spec}: {place} has no `{part}`{hint}")
        found = getattr(found, part)
    return found


def _file(place: str, base: Path, spec: str) -> ModuleType:
    path = base / expanded(place)
    if not path.is_file():
        raise UserError(f"{spec}: there is no file {path}")
    # A name of its own: two files called source.py are two modules.
    name = f"lpt_own_{digest(path.resolve())[:12]}"
    loader = importlib.util.spec_from_file_location(name, path)
    assert loader is not None
    assert loader.loader is not None
    module = importlib.util.module_from_spec(loader)
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up
    try:
        with _importable(path.resolve().parent):
            loader.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script without a main guard may even exit
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
        raise UserError(f"{spec}: {path} cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def _module(place: str, base: Path, spec: str) -> ModuleType:
    try:
        with _importable(base):
            return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise UserError(f"{spec}: {place} imports {error.name}, which is not installed") from error
        hint = "; a file's name must end in .py" if "/" in place else f" (looked in {base}, too)"
        raise UserError(f"{spec}: there is no module {error.name}{hint}") from error
    except (Exception, SystemExit) as error:
        raise UserError(f"{spec}: {place} cannot be loaded: {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the loaded code may have tidied up itself
            sys.path.remove(entry)
