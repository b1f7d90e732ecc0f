"""`lpt ledger`: what was asked of whom, and what it cost."""

from pathlib import Path
from typing import Annotated

import typer


def ledger(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show calls, tokens and money by stage and model."""
    from lpt.look import console
    from lpt.look.spending import print_spending, spending_json
    from lpt.store.run import Run

    opened = Run.open(run)
    if json:
        typer.echo(spending_json(opened))
    else:
        print_spending(opened, console.data())
