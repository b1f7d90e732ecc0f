"""Prompts are text files beside this one; a recipe may name others in their place.

A file holds `{name}` placeholders. Only declared names are filled, in one pass, so that a caption that happens to
hold `{question}` stays as it is.
"""

import re
from functools import lru_cache
from importlib import resources
from pathlib import Path

from lpt.errors import RecipeError


@lru_cache(maxsize=32)
def load(name: str, path: str | None = None, required: tuple[str, ...] = (), home: str = __name__) -> str:
    """The text of a prompt: ours by name, or the user's by path.

    Args:
        name: the section of the recipe that it belongs to, whose last part names our file.
        path: a file of the user's own, in its place.
        required: the placeholders that it must hold.
        home: the package that ours lies in.

    Raises:
        RecipeError: the user's file cannot be read, or lacks a placeholder that the stage fills.
    """
    if path is None:
        file = f"{name.rpartition('.')[2]}.txt"
        return resources.files(home).joinpath(file).read_text(encoding="utf-8").strip()
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise RecipeError(f"{name}.prompt: there is no file {path} (looked for from the recipe's folder)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{name}.prompt: the file {path} cannot be read: {error}") from error
    missing = [f"{{{placeholder}}}" for placeholder in required if f"{{{placeholder}}}" not in text]
    if missing:
        raise RecipeError(
            f"{name}.prompt: the file {path} must hold {' and '.join(missing)}, which the stage fills"
        )
    return text


def fill(template: str, **values: object) -> str:
    """Fill the placeholders that `values` names, each once and for all."""
    pattern = re.compile("|".join(re.escape(f"{{{name}}}") for name in values))
    return pattern.sub(lambda match: str(values[match.group()[1:-1]]), template)
