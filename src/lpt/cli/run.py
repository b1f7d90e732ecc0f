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
    from lpt.errors import Interrupted, Unavailable, UserError
    from lpt.look import console
    from lpt.look.progress import Progress
    from lpt.look.safe import safe
    from lpt.look.status import print_status
    from lpt.pipeline import synthesize
    from lpt.recipe import Recipe
    from lpt.store.ledger import Ledger

    if until not in ("ask", "think", "think_harder"):
        raise UserError(f'--until is "{until}"; it can be ask, think or think_harder')
    loaded = Recipe.load(recipe, set_ or [])
    loaded.check_models(until)
    talk = console.talk()
    try:
        with Progress(talk, loaded.models, loaded.used_by()) as progress:
            made = synthesize(loaded, out, limit=limit, until=until, watcher=progress)  # type: ignore[arg-type]
    except Interrupted as stopped:
        raise Interrupted(f"{stopped}.\nTo go on: the same command again") from None
    try:
        compose(made)
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped while composing; nothing that was answered is lost.\nTo go on: lpt compose {out}"
        ) from None
    print_status(made, console.data())
    failed = made.failed_calls()
    if failed:
        with Ledger(made.ledger_path) as ledger:
            told = safe(ledger.last_failure())
        talk.print(f"{failed} samples are missing because calls failed; the same command again asks for them.")
        talk.print(f"The last one: {told}", markup=False, style="yellow")
    talk.out(f"\nSets, tables and the ledger: {out}", highlight=False)
    talk.out(f"Look at one example:         lpt show {out}", highlight=False)
    if made.table("sft").head(1).collect().height:
        talk.out(f"Export for a trainer:        lpt export {out} --to llamafactory", highlight=False)
    elif until == "think_harder" and failed:
        raise Unavailable(
            f"the sets are empty, because {failed} samples could not be asked for. `lpt doctor {recipe}` says what "
            "is wrong with which server",
            kind="calls-failed",
        )
    elif until == "think_harder":
        talk.print("The sets are empty: the table above says where everything left.", style="yellow")
