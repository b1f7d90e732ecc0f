"""`lpt status`: the funnel of a run."""

from pathlib import Path
from typing import Annotated

import typer


def status(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    json: Annotated[
        bool, typer.Option("--json", help="For machines: per stage made, kept, dropped, tokens.")
    ] = False,
) -> None:
    """Show what was made at each stage, what was kept, and why the rest was dropped."""
    from lpt.look import console
    from lpt.look.status import print_status, status_json
    from lpt.store.run import Run

    opened = Run.open(run)
    if json:
        typer.echo(status_json(opened))
    else:
        print_status(opened, console.data())
