"""`lpt recipe`: recipes, looked at."""

from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(help="Look at recipes.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Look at recipes."""


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A recipe (TOML).")],
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045 (typer reads it at run time on 3.10)
        typer.Option("--set", help="Override a setting first."),
    ] = None,
) -> None:
    """Print a recipe fully resolved: every setting with the value that it has."""
    from lpt.recipe import Recipe

    typer.echo(Recipe.load(file, set_ or []).toml(), nl=False)
