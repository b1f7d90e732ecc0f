"""`lpt import`: runs from what other tools made."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from lpt.imports.sets import Imported


def sharegpt(
    file: Annotated[Path, typer.Argument(help="A JSON, JSON Lines or Parquet file, or a folder of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The run folder to make.")],
    images: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads it at run time on 3.10)
        typer.Option(help="The folder that image paths start from. By default that of the file."),
    ] = None,
) -> None:
    """Load LLaMA-Factory's sharegpt or preference files into a run that has sets."""
    from lpt.imports.sharegpt import import_sharegpt
    from lpt.store.lock import held
    from lpt.store.run import Run

    with held(Run.folder(out)):
        _tell(import_sharegpt(file, out, images))


def lpt30k(
    path: Annotated[Path, typer.Argument(help="The released set: a file, or a folder of files.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The run folder to make.")],
    images: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads it at run time on 3.10)
        typer.Option(help="DOCCI's images, which the set is about."),
    ] = None,
) -> None:
    """Load the authors' released 30k set into a run that has an SFT set, and say what was found in it."""
    from lpt.imports.lpt30k import import_lpt30k
    from lpt.store.lock import held
    from lpt.store.run import Run

    with held(Run.folder(out)):
        _tell(import_lpt30k(path, out, images))


def _tell(imported: "Imported") -> None:
    from lpt.look import console
    from lpt.look.safe import safe
    from lpt.look.status import print_status

    talk = console.talk()
    for remark in imported.remarks:
        talk.print(safe(remark), style="yellow", markup=False, highlight=False)
    print_status(imported.run, console.data())


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
    from lpt.store.lock import held
    from lpt.store.run import Run

    with held(Run.folder(out)):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            run = import_published(folder, out, images)
        talk = console.talk()
        for warning in told:
            talk.print(f"warning: {warning.message}", style="yellow", markup=False)
        compose(run)
    print_status(run, console.data())
