"""`lpt plan`: what would a whole run take?"""

from pathlib import Path
from typing import Annotated, Optional

import typer


def plan(
    recipe: Annotated[Path, typer.Argument(help="A recipe (TOML).")],
    images: Annotated[int, typer.Option(min=1, help="How many rows the pilot takes, from the start.")] = 3,
    of: Annotated[
        Optional[int],  # noqa: UP045 (typer reads it at run time on 3.10)
        typer.Option(min=1, help="Rows of the whole source; counted where this is not given."),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", "-o", help="The later run's folder: what the pilot asks is not asked again there."),
    ] = None,
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", help="Override a setting: --set think.samples=4. May be repeated."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Run a pilot of a few images, and estimate calls, tokens, money and time for all of them.

    The pilot is an ordinary run. With --out it is the beginning of the later one; else it is thrown away.
    """
    import contextlib
    import tempfile

    import msgspec

    from lpt.errors import RunError, UserError
    from lpt.look import console
    from lpt.look.plan import count_rows, print_plan
    from lpt.look.plan import plan as estimate
    from lpt.look.progress import Progress
    from lpt.pipeline import State, synthesize
    from lpt.recipe import Recipe
    from lpt.store.run import Run

    loaded = Recipe.load(recipe, set_ or [])
    until = "think_harder" if loaded.think_harder or not loaded.questions else "think"
    loaded.check_models(until)
    rows = of or count_rows(loaded, Path.cwd())
    if rows is None:
        raise UserError("this source cannot be counted without reading all of it: say how many rows it has, --of N")
    with contextlib.ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lpt-plan-"))) / "pilot"
        if out and (out / "recipe.toml").exists():
            before = State.of_run(Run.open(out))
            if before and before.of > images:
                raise RunError(
                    f"{out} holds a run of {before.of} images, more than the pilot's {images}: `lpt ledger {out}` "
                    "says what it spent. Choose another --out, or none"
                )
        ledger = Path(loaded.ledger) if loaded.ledger else folder / "ledger.sqlite"
        fresh = not ledger.exists()
        with Progress(console.talk(), loaded.models, loaded.used_by()) as progress:
            run = synthesize(loaded, folder, limit=images, until=until, watcher=progress)  # type: ignore[arg-type]
        made = estimate(run, rows, min(images, rows), exact=fresh)
    if json:
        typer.echo(msgspec.json.encode(made).decode())
        return
    print_plan(made, console.data())
    if out:
        console.talk().out(f"\nTo go on from the pilot: lpt run {recipe} --out {out}", highlight=False)
