"""`lpt status`: the funnel of a run."""

from pathlib import Path
from typing import Annotated

import typer


def status(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    json: Annotated[
        bool, typer.Option("--json", help="For machines: per stage made, kept, dropped, tokens.")
    ] = False,
    drops: Annotated[
        bool, typer.Option("--drops", help="Instead list what was dropped: record, stage, reason, detail.")
    ] = False,
    stage: Annotated[str, typer.Option(help="--drops: only of this stage.")] = "",
    reason: Annotated[str, typer.Option(help="--drops: only for this reason.")] = "",
    first: Annotated[int, typer.Option(min=0, help="--drops: list so many, and count the rest. 0: all.")] = 20,
) -> None:
    """Show what was made at each stage, what was kept, and why the rest was dropped."""
    import msgspec

    from lpt.errors import UserError
    from lpt.look import console
    from lpt.look.drops import listed, print_drops
    from lpt.look.partitions import open_partitions, print_partitions, summed
    from lpt.look.status import print_status, status_json
    from lpt.store.run import Run

    opened = Run.open(run)
    parts = open_partitions(run)
    if parts and not (drops or stage or reason):
        if json:
            said = {"run": str(run), "complete": False, **summed(parts, opened.recipe), "by_partition": parts}
            typer.echo(msgspec.json.encode(said))
        else:
            print_partitions(run, parts, opened.recipe, console.data())
        return
    if drops:
        found = listed(opened, stage=stage, reason=reason, first=first)
        if json:
            typer.echo(msgspec.json.encode(found))
        else:
            print_drops(found, console.data())
        return
    if stage or reason:
        raise UserError("--stage and --reason choose among drops: add --drops")
    if json:
        typer.echo(status_json(opened))
    else:
        print_status(opened, console.data())
