"""Paths as people write them."""

from pathlib import Path

from lpt.errors import UserError


def expanded(path: str, error: type[UserError] = UserError) -> Path:
    """A path with the `~` or `~name` that it may begin with followed home.

    Raises:
        UserError: (or its kind that `error` names) there is no user of that name.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise error(f"{path}: there is no user of that name, or no home of theirs: write the path out") from None
