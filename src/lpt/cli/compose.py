"""`lpt compose`: the sets of a run, made anew from its tables."""

from pathlib import Path
from typing import Annotated

import typer


def compose(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Filter, draw and pair: make the SFT and preference sets from what was thought. No model is asked."""
    from lpt.curate.compose import compose as compose_run
    from lpt.look import console
    from lpt.look.status import print_status
    from lpt.store.run import Run

    opened = Run.open(run)
    compose_run(opened)
    print_status(opened, console.data())
