"""`lpt show`: one example with where it came from."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def show(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    id: Annotated[  # noqa: A002 (it is what a user calls it)
        Optional[str],  # noqa: UP045 (typer reads it at run time on 3.10)
        typer.Argument(help="The id of any record, or its start. Without it: a typical example of the SFT set."),
    ] = None,
    prompts: Annotated[
        bool, typer.Option("--prompts", help="Also print the prompts and raw replies from the ledger.")
    ] = False,
    svg: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Draw it into this file instead: image, question, thought, cue and long thought."),
    ] = None,
) -> None:
    """Show one example with its lineage: caption, question, thought, cue, long thought, verdicts, sets."""
    from lpt.look import console
    from lpt.look.show import find, show_record
    from lpt.store.run import Run

    opened = Run.open(run)
    if svg is None:
        show_record(opened, id, console.data(), prompts=prompts)
        return
    from lpt.look.figure import draw

    svg.write_text(draw(opened, find(opened, id)), encoding="utf-8")
    typer.echo(svg)
