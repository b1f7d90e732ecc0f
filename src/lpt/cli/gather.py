"""`lpt gather`: one run of its partitions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from lpt.cluster.gather import Gathered
    from lpt.recipe import Recipe


def gather(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="The run folder that the partitions were published in.")
    ],
    out: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads it at run time on 3.10)
        typer.Option("--out", "-o", help="Where the run is to be: by default there; needed if RUN is a URL."),
    ] = None,
) -> None:
    """Put the partitions of a run together, and compose the sets: the run that one machine would have made.

    Partitions that are missing or unfinished are named, and nothing is made.
    """
    from lpt.cluster.place import is_url
    from lpt.errors import UserError
    from lpt.store.run import Run

    if out is None and is_url(run):
        raise UserError(f"{run} is no folder on a disk: say where the run is to be, with --out RUN")
    if not is_url(run):
        Run.open(run)
    _tell(_gathered(run, out))


def _gathered(run: str, out: Path | None) -> "Gathered":
    from lpt.cluster.gather import gather as gather_run
    from lpt.curate.compose import compose
    from lpt.store.lock import held
    from lpt.store.run import Run

    with held(Run.folder(out if out is not None else run)):
        gathered = gather_run(run, out)
        compose(gathered.run)
    return gathered


def _tell(gathered: "Gathered") -> None:
    from lpt.look import console
    from lpt.look.status import print_status

    print_status(gathered.run, console.data())
    if gathered.failed:
        console.talk().print(
            f"{gathered.failed} samples are missing because calls failed; the partitions, run again, ask for them.",
            style="yellow",
            highlight=False,
        )


def in_partitions(recipe: "Recipe", out: str, partition: str | None, on: str | None, **given: Any) -> None:
    """What `lpt run` does with --partition, or --on ray.

    Args:
        recipe: the recipe.
        out: the run folder.
        partition: `I/N`: work on this one.
        on: `ray`: work on all of them, then gather.
        given: limit, until and means, as `synthesize` takes them.

    Raises:
        UserError: both are given, or neither can be understood; and whatever working on them raises.
    """
    from lpt.cluster.place import is_url
    from lpt.errors import Interrupted, UserError
    from lpt.look import console
    from lpt.look.progress import Progress

    if partition is not None and on is not None:
        raise UserError("--partition works on one partition, --on ray on all of them: choose one")
    if on not in (None, "ray"):
        raise UserError(f'--on is "{on}"; it can be ray')
    talk = console.talk()
    try:
        with Progress(talk, recipe.models, recipe.used_by()) as progress:
            if partition is not None:
                _one(recipe, out, partition, progress, given)
            else:
                from lpt.cluster.on_ray import run_on_ray

                run_on_ray(recipe, out, **given, watcher=progress)
    except Interrupted as stopped:
        raise Interrupted(f"{stopped}.\nTo go on: the same command again") from None
    except KeyboardInterrupt:
        raise Interrupted("stopped; what was published is kept.\nTo go on: the same command again") from None
    if partition is not None:
        talk.print(
            f"Partition {partition} is finished. When all are: lpt gather {out}", highlight=False, markup=False
        )
    elif is_url(out):
        talk.print(f"All partitions are finished: lpt gather {out} --out RUN", highlight=False, markup=False)
    else:
        _tell(_gathered(out, None))


def _one(recipe: "Recipe", out: str, partition: str, progress: Any, given: dict[str, Any]) -> None:
    from lpt.cluster.place import is_url
    from lpt.cluster.worker import Job, work
    from lpt.partition import Partition

    part = Partition.parse(partition)
    job = Job(
        recipe=recipe,
        place=out if is_url(out) else str(Path(out).resolve()),
        index=part.index,
        of=part.of,
        slot=part.index,
        workers=min(recipe.cluster.workers or part.of, part.of),
        **given,
    )
    work(job, watcher=progress, say=progress.say)
