"""`lpt compose`: the sets of a run, or of several runs together, made anew from their tables."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def compose(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="A run folder, or several to be merged.")],
    out: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads it at run time on 3.10)
        typer.Option("--out", "-o", help="The run folder that several runs are merged into."),
    ] = None,
    seed: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            help="For a merge: the seed of splits and draws. By default that of the run with most images."
        ),
    ] = None,
) -> None:
    """Filter, draw and pair: make the SFT and preference sets from what was thought. No model is asked.

    Several runs are merged first: a record that is in two of them counts once, and images are held out anew.
    """
    from lpt.curate.compose import compose as compose_run
    from lpt.curate.merge import merge
    from lpt.errors import UserError
    from lpt.look import console
    from lpt.look.status import print_status
    from lpt.store.lock import held
    from lpt.store.run import Run

    if out is None:
        if len(runs) > 1:
            raise UserError("several runs are merged into a new one: say where, with --out MERGED")
        if seed is not None:
            raise UserError("--seed is for a merge; a run is composed from its recipe's seed")
        opened = Run.open(runs[0])
        with held(opened.path):
            compose_run(opened)
    else:
        with held(Run.folder(out)):
            merged = merge(runs, out, seed=seed)
            opened = merged.run
            compose_run(opened)
        talk = console.talk()
        for remark in merged.remarks:
            talk.print(remark, style="yellow", markup=False, highlight=False)
    print_status(opened, console.data())
