"""`lpt check`: is what a run keeps what was written?"""

from pathlib import Path
from typing import Annotated

import typer


def check(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Make a damaged ledger anew from what is whole in it; the old file is kept."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Read every reply and every table through, and compare them with their checksums.

    Exit code 4 when something is damaged. Nothing is changed without --repair.
    """
    import msgspec

    from lpt.errors import StoreError
    from lpt.look.safe import safe
    from lpt.store import manifest
    from lpt.store.rescue import Health, examine
    from lpt.store.rescue import repair as rescue
    from lpt.store.run import Run

    opened = Run.open(run)
    path = opened.ledger_path
    saved = rescue(path) if repair and path.exists() else None
    health: Health | None = examine(path) if path.exists() else None
    try:
        torn = manifest.examine(opened.tables)
    except OSError as error:
        raise StoreError(f"the tables of {run} cannot be read ({error.strerror}): see to the disk") from error
    if json:
        told = {"ledger": health, "tables": torn, "saved": saved and str(saved)}
        typer.echo(msgspec.json.encode(told))
    else:
        if saved:
            typer.echo(safe(f"repaired: {saved}"))
        typer.echo(safe(f"{_of_ledger(path, health)}\n{_of_tables(torn)}"))
    if torn or (health and not health.sound):
        raise typer.Exit(StoreError.exit_code)


def _of_ledger(path: Path, health: "object") -> str:
    from lpt.store.rescue import Health

    if not isinstance(health, Health):
        return "ledger   none"
    lines = [
        f"ledger   {health.replies:,} replies of {health.calls:,} calls: {'whole' if health.sound else 'DAMAGED'}"
    ]
    if health.unchecked:
        lines.append(f"         {health.unchecked:,} replies are from before there were checksums")
    lines += [f"         {fault}" for fault in health.faults]
    lines += [f"         reply {key} is not what was written, and counts as unknown" for key in health.damaged]
    lines += [f"         the request of call {call} cannot be read" for call in health.damaged_calls]
    lines += [f"         {earlier}" for earlier in health.history]
    if not health.sound:
        lines.append(
            f"         `lpt check RUN --repair` makes {path.name} anew from what is whole; the old file is kept"
        )
    return "\n".join(lines)


def _of_tables(torn: dict[str, str]) -> str:
    return "\n".join(
        [f"tables   {'DAMAGED' if torn else 'whole'}", *(f"         {wrong}" for wrong in torn.values())]
    )
