"""`lpt run`: from a recipe to sets."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe (TOML): see recipes/.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The run folder. The same one again goes on there.")],
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045 (typer reads it at run time on 3.10)
        typer.Option("--set", help="Override a setting: --set think.samples=4. May be repeated."),
    ] = None,
    limit: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Take only this many captions, from the start of the source."),
    ] = None,
    until: Annotated[str, typer.Option(help="Stop after this stage: ask, think or think_harder.")] = "think_harder",
) -> None:
    """Make a training set: ask, think, think harder, then compose.

    What was answered before is never asked again: after a crash, a Ctrl-C or an edit of the recipe, the same
    command goes on from there.
    """
    from lpt.curate.compose import compose
    from lpt.errors import Interrupted, UserError
    from lpt.look import console
    from lpt.look.progress import Progress
    from lpt.look.status import print_status
    from lpt.pipeline import synthesize
    from lpt.recipe import Recipe

    if until not in ("ask", "think", "think_harder"):
        raise UserError(f'--until is "{until}"; it can be ask, think or think_harder')
    loaded = Recipe.load(recipe, set_ or [])
    loaded.check_models(until)
    talk = console.talk()
    used_by = {
        stage: settings.model
        for stage, settings in (("ask", loaded.ask), ("think", loaded.think), ("think_harder", loaded.think_harder))
        if settings
    }
    try:
        with Progress(talk, loaded.models, used_by) as progress:
            made = synthesize(loaded, out, limit=limit, until=until, watcher=progress)  # type: ignore[arg-type]
    except Interrupted as stopped:
        raise Interrupted(f"{stopped}.\nTo go on: the same command again") from None
    compose(made)
    print_status(made, console.data())
    failed = made.failed_calls()
    if failed:
        talk.print(
            f"{failed} calls failed and count as drops; the same command again asks for them anew.", style="yellow"
        )
    talk.out(f"\nSets, tables and the ledger: {out}", highlight=False)
    talk.out(f"Look at one example:         lpt show {out}", highlight=False)
    talk.out(f"Export for a trainer:        lpt export {out} --to llamafactory", highlight=False)
