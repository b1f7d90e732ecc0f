"""`lpt doctor`: can these models do what this recipe asks of them?"""

from pathlib import Path
from typing import Annotated, Optional

import typer


def doctor(
    recipe: Annotated[Path, typer.Argument(help="A recipe (TOML).")],
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045 (typer reads it at run time on 3.10)
        typer.Option("--set", help="Override a setting: --set models.reasoner.prefill=trailing. May be repeated."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="For machines: all findings, all needs, `ok`.")] = False,
) -> None:
    """Ask each model some twenty small questions: what can it do, what do the stages need, what is to change?

    Servers that the recipe launches are started for it. Nothing is kept. Exit status 0: all that is needed is
    there; 1: something is missing.
    """
    import asyncio
    import tempfile

    from lpt.look import console
    from lpt.look.doctor import as_json, print_checkups
    from lpt.models.doctor import examine
    from lpt.needs import needs, warnings
    from lpt.recipe import Recipe

    loaded = Recipe.load(recipe, set_ or [])
    loaded.check_models("think_harder" if loaded.think_harder or not loaded.questions else "think")
    with tempfile.TemporaryDirectory(prefix="lpt-doctor-") as logs:
        phased = loaded.run.schedule == "phased"
        checkups = asyncio.run(examine(loaded.models, Path(logs), one_server=phased))
    needed, warned = needs(loaded, checkups), warnings(loaded, checkups)
    if json:
        typer.echo(as_json(checkups, needed, warned))
    else:
        print_checkups(checkups, needed, warned, console.data())
    if any(need.missing for need in needed):
        raise typer.Exit(1)
