"""`lpt miniature`: a student of a million parameters, on which the method can be tried without a GPU."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    found = make(schooling, out, tell)
    if json:
        typer.echo(msgspec.json.encode({"student": str(out), **found._asdict()}).decode())
        return
    typer.echo(f"a student in {out}: {found.glance:.1%} of questions right at a glance,")
    typer.echo(f"{found.ceiling:.1%} if it looked again, cell by cell, with the eyes that it has")
    for kind, share in found.by.items():
        typer.echo(f"  {kind:10} {share:6.1%}")
    console.print(f"lpt serve {out}", highlight=False)


def _schooling(size: str) -> "Schooling":
    from lpt.errors import UserError
    from lpt.miniature.build import SIZES

    if size not in SIZES:
        raise UserError(f"--size is {' or '.join(SIZES)}, not {size!r}")
    return SIZES[size]
