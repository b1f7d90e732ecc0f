"""`lpt import`: runs from what other tools made."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def published(
    folder: Annotated[Path, typer.Argument(help="The folder of the authors' recorded outputs.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The run folder to make.")],
    images: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads it at run time on 3.10)
        typer.Option(help="The image files, named as in the captions."),
    ] = None,
) -> None:
    """Load the authors' recorded outputs into a run, grade them, and compose its sets."""
    import warnings

    from lpt.curate.compose import compose
    from lpt.imports.published import import_published
    from lpt.look import console
    from lpt.look.status import print_status

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = import_published(folder, out, images)
    talk = console.talk()
    for warning in told:
        talk.print(f"warning: {warning.message}", style="yellow", markup=False)
    compose(run)
    print_status(run, console.data())
