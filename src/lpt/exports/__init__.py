"""Sets in the formats of other tools, one file a format.

An exporter is a function `(run, out, **options) -> Exported`. Those that come along go by a name; one of your own
by `path.py:function` or `module:function`.
"""

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from lpt.errors import UserError
from lpt.exports.base import Exported
from lpt.plugins import load_object
from lpt.store.run import Run

Exporter: TypeAlias = Callable[..., Exported]

EXPORTERS = {
    "llamafactory": "lpt.exports.llamafactory",
    "trl": "lpt.exports.trl",
    "swift": "lpt.exports.swift",
    "verl": "lpt.exports.verl",
    "hf": "lpt.exports.hf",
}


def exporter(name: str) -> Exporter:
    """Find an exporter.

    Raises:
        UserError: there is none of that name.
    """
    if name in EXPORTERS:
        found: Exporter = importlib.import_module(EXPORTERS[name]).export
        return found
    if ":" not in name:
        raise UserError(
            f'there is no exporter "{name}"; there are: {", ".join(EXPORTERS)}, '
            "or one of your own as path.py:function or module:function"
        )
    loaded = load_object(name)
    if not callable(loaded):
        raise UserError(f"{name} is not a function: an exporter is called with (run, out, **options)")
    own: Exporter = loaded
    return own


def export(run: Run, to: str, out: Path | None = None, **options: Any) -> Exported:
    """Write a run's sets in another tool's format.

    Args:
        run: the run.
        to: an exporter's name.
        out: the folder to write into; by default `RUN/exports/NAME`.
        options: the exporter's own, see there.

    Raises:
        UserError: no such exporter, an option that it does not have, no sets.
        StoreError: the disk failed.
    """
    function = exporter(to)
    known = inspect.signature(function).parameters
    for offer in ("progress", "funnel"):  # whoever calls offers them; not every exporter takes them
        if offer in options and offer not in known:
            del options[offer]
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        for option in options:
            if option not in known:
                there = ", ".join(list(known)[2:]) or "none"
                raise UserError(f'the exporter "{to}" has no option "{option}"; it has: {there}')
    name = to if to in EXPORTERS else to.rpartition(":")[2]
    return function(run, out or run.path / "exports" / name, **options)
