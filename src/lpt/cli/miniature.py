"""`lpt miniature`: a student of a million parameters, on which the method can be tried without a GPU."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from lpt.miniature.build import Schooling

INSTALL = "pip install 'long-perceptual-thoughts[train]'"

app = typer.Typer(help="The method in a small world: a student from nothing, on two cores.", no_args_is_help=True)
app.callback()(lambda: None)


@app.command()
def build(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the student: an ordinary checkpoint.")],
    seed: Annotated[int, typer.Option(help="Another seed, another student.")] = 0,
    size: Annotated[
        str, typer.Option(help="full, or tiny: seconds, to see that every step works; it learns next to nothing.")
    ] = "full",
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads. The same seed gives the same student on as many threads.")
    ] = 2,
    json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Make a student: a Qwen2.5-VL of a million parameters that sees boards of arrows and answers at a glance.

    Killed, the same command goes on where it was. The folder has the curves of what it learnt (curves.svg).
    """
    from rich.console import Console

    from lpt.errors import UserError

    try:
        from lpt.miniature.build import build as make
    except ImportError as error:
        raise UserError(f"lpt miniature needs torch and transformers ({error}): {INSTALL}") from error
    import msgspec

    console = Console(stderr=True)

    def tell(step: int, of: int, measured: dict[str, float]) -> None:
        shown = ", ".join(f"{name} {value:.3f}" for name, value in measured.items() if "-" not in name)
        console.print(f"step {step:,} of {of:,}: {shown}", highlight=False)

    schooling = msgspec.structs.replace(_schooling(size), seed=seed, threads=threads)
    found = make(schooling, out, tell, examined=256 if size == "full" else 32)
    if json:
        typer.echo(msgspec.json.encode({"student": str(out), **found._asdict()}).decode())
        return
    typer.echo(f"a student in {out}: {found.glance:.1%} of questions right at a glance,")
    typer.echo(f"{found.ceiling:.1%} if it looked again, cell by cell, with the eyes that it has")
    for kind, share in found.by.items():
        typer.echo(f"  {kind:10} {share:6.1%}")
    console.print(f"lpt serve {out}", highlight=False)


@app.command()
def note(
    evaluation: Annotated[Path, typer.Argument(help="A folder of `lpt eval run` on boards-bench.")],
    row: Annotated[str, typer.Option(help="The table's row: base, sft, …")],
    seed: Annotated[int, typer.Option(help="Of the student, and of all that was made with it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of results.")],
    training: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads it at run time on 3.10)
        typer.Option(help="What `lpt train … --json` printed, whose tokens and seconds are noted, too."),
    ] = None,
) -> None:
    """Keep what a student answered as a small file, from which the table is made."""
    from lpt.miniature import results

    made = results.result(evaluation, row, seed, results.trained(training) if training else None)
    typer.echo(str(results.keep(made, out)))


@app.command()
def table(
    folder: Annotated[Path, typer.Argument(help="The folder of results.")],
    into: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Write it into this Markdown file, between its marks, in place of printing it."),
    ] = None,
    figure: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Also draw the differences from `base` into this file (SVG)."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="For machines; shares from 0 to 1.")] = False,
) -> None:
    """The claims as a table, with paired intervals, from the results that are there."""
    from lpt.exports.rows import put
    from lpt.miniature import claims, results

    lines = results.table(results.load(folder), claims.against)
    if figure:
        put(figure, claims.drawn(lines).encode())
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(lines).decode())
    elif into:
        claims.write(lines, into)
        typer.echo(str(into))
    else:
        typer.echo(claims.markdown(lines))


def _schooling(size: str) -> "Schooling":
    from lpt.errors import UserError
    from lpt.miniature.build import SIZES

    if size not in SIZES:
        raise UserError(f"--size is {' or '.join(SIZES)}, not {size!r}")
    return SIZES[size]
