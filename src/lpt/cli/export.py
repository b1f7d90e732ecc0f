"""`lpt export`: a run's sets in another tool's format."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="llamafactory, trl, swift, verl, hf, or an exporter of your own: path.py:function, "
            "module:function.",
        ),
    ],
    out: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads it at run time on 3.10)
        typer.Option("--out", "-o", help="The folder to write into. By default RUN/exports/NAME."),
    ] = None,
    prefix: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="llamafactory: raw (trains right with a stock one; the default) or column (the authors' "
            "`assistant_prefix`)."
        ),
    ] = None,
    template: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The chat template: chatml (the default), a tokenizer folder, or a Jinja file."),
    ] = None,
    shared: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Where the wrong thought goes that both sides of a pair begin with: prompt or response."),
    ] = None,
    allow_missing_images: Annotated[
        bool, typer.Option("--allow-missing-images", help="Refer to images that are not there by their names.")
    ] = False,
    licence: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="hf: the licence of the sources, for the dataset card, such as cc-by-4.0."),
    ] = None,
    push: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="REPO",
            help="hf: upload it to this data set of the hub, with your token from HF_TOKEN. A new one is private.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="For machines: files, counts, skipped.")] = False,
) -> None:
    """Write the SFT and preference sets for a trainer, images beside them."""
    import msgspec
    from rich.progress import Progress

    from lpt.curate.funnel import funnel
    from lpt.exports import export as write
    from lpt.look import console
    from lpt.store.run import Run

    opened = Run.open(run)
    talk = console.talk()
    given = {"prefix": prefix, "template": template, "shared": shared, "licence": licence, "push": push}
    options: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    if allow_missing_images:
        options["allow_missing_images"] = True
    with Progress(console=talk, transient=True, disable=not talk.is_terminal) as bar:
        task = bar.add_task("images", total=None)

        def tell(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        exported = write(opened, to, out, progress=tell, funnel=funnel, **options)
    if json:
        typer.echo(msgspec.json.encode(exported, enc_hook=str))
        return
    for path in exported.files:
        typer.echo(path)
    for name, rows in exported.counts.items():
        talk.print(f"{rows:>9,}  {name}", highlight=False)
    for line in exported.remarks():
        talk.print(line, style="yellow", highlight=False)
