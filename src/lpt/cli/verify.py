"""`lpt verify`: ask models whether what was made holds."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def verify(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    recipe: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads it at run time on 3.10)
        typer.Option("--recipe", help="Take [verify] and the models from this recipe, not from the run's own."),
    ] = None,
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", help="Override a setting: --set verify.blind.model=judge. May be repeated."),
    ] = None,
    check: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--check", help="Only this check: blind, disagree or consistency. May be repeated."),
    ] = None,
) -> None:
    """Ask models about a run: can its questions be answered blind, do other eyes disagree, are traces consistent?

    The judgements become a table that filters read when the sets are composed. What was answered before is never
    asked again.
    """
    import msgspec

    from lpt.errors import Interrupted, UserError
    from lpt.look import console
    from lpt.look.progress import Progress
    from lpt.look.status import print_judged
    from lpt.recipe import Recipe
    from lpt.records import CHECKS
    from lpt.store.run import Run
    from lpt.verification import verify as verify_run

    chosen = [name for name in CHECKS if not check or name in check]
    if unknown := [name for name in check or [] if name not in CHECKS]:
        raise UserError(f'--check is "{unknown[0]}"; it can be {", ".join(CHECKS)}')
    opened = Run.open(run)
    loaded = Recipe.load(run / "recipe.toml", set_ or [])
    if recipe:
        other = Recipe.load(recipe, set_ or [])
        loaded = msgspec.structs.replace(loaded, verify=other.verify, models={**loaded.models, **other.models})
    loaded.check_verify()
    used_by: dict[str, str] = {
        name: settings.model for name in chosen if (settings := getattr(loaded.verify, name))
    }
    talk = console.talk()
    try:
        with Progress(talk, loaded.models, used_by, stages=("captions", *used_by)) as progress:
            made = verify_run(opened, loaded, checks=chosen if check else (), watcher=progress)
    except Interrupted as stopped:
        raise Interrupted(f"{stopped}.\nTo go on: the same command again") from None
    print_judged(made, console.data())
    talk.out(f"\nMake the sets anew with these judgements: lpt compose {run}", highlight=False)
