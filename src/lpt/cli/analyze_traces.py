"""`lpt analyze behaviours | lengths | cues | noise`: what the traces of a run do."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from lpt.analyze.result import Analysis
    from lpt.analyze.traces import Source

_ANY = "A run, an evaluation's folder, or a file of conversations (sharegpt)."
_OUT = "Where JSON, CSV and SVG go. By default `analyze` within the folder; for a file, nowhere."

Any = Annotated[Path, typer.Argument(metavar="RUN", help=_ANY)]
OfRun = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Out = Annotated[Optional[Path], typer.Option(help=_OUT)]  # noqa: UP045 (typer reads it at run time on 3.10)
Json = Annotated[bool, typer.Option("--json", help="For machines: the whole result on stdout.")]


def behaviours(
    path: Any,
    judge: Annotated[
        str, typer.Option(help="Also ask this model of the recipe: one call a behaviour and trace.")
    ] = "",
    sample: Annotated[
        int, typer.Option(min=0, help="--judge: so many traces, drawn evenly over categories. 0: all.")
    ] = 200,
    recipe: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="--judge: take the models from this recipe, too."),
    ] = None,
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", help="--judge: override a setting of the recipe. May be repeated."),
    ] = None,
    prompt: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="--judge: a prompt file of your own, in place of ours."),
    ] = None,
    out: Out = None,
    *,
    json: Json = False,
) -> None:
    """Count behaviours: verification, backtracking, subgoals, backward chaining, regions looked at.

    Counted by phrases, and with --judge by a model as well, whose replies the ledger keeps. A trace that a judge
    could not count is uncounted, never zero.
    """
    from lpt.analyze import counts

    if not judge:
        _analyze(path, counts.behaviours, out, json=json)
        return
    from lpt.analyze import judged
    from lpt.errors import Interrupted
    from lpt.look.safe import safe

    try:
        _analyze(
            path,
            lambda source: counts.behaviours(
                source,
                judged.judge(
                    source,
                    judge,
                    out=out,
                    sample=sample,
                    recipe=recipe,
                    overrides=set_ or [],
                    prompt=prompt,
                    say=lambda words: typer.echo(safe(words), err=True),
                ),
            ),
            out,
            json=json,
        )
    except Interrupted as stopped:
        raise Interrupted(f"{stopped}.\nTo go on: the same command again") from None


def lengths(path: Any, out: Out = None, *, json: Json = False) -> None:
    """Set lengths against accuracy and hardness, and see how much is said after the last change of answer."""
    from lpt.analyze.lengths import lengths as analysis

    _analyze(path, analysis, out, json=json)


def cues(path: OfRun, out: Out = None, *, json: Json = False) -> None:
    """Compare cues on the same thoughts: flips, yield, leaks, behaviours, tokens and money a kept example."""
    from lpt.analyze.cues import cues as analysis

    _analyze(path, analysis, out, json=json)


def noise(
    path: OfRun,
    labels: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="JSON Lines of {question, right: true | false}: labels that people audited."),
    ] = None,
    out: Out = None,
    *,
    json: Json = False,
) -> None:
    """Follow wrong labels through stages and filters, where truth is known: rendered pictures or audited labels."""
    from lpt.analyze.noise import noise as analysis

    _analyze(path, lambda source: analysis(source, labels), out, json=json)


def _analyze(path: Path, analysis: "Callable[[Source], Analysis]", out: Path | None, *, json: bool) -> None:
    """Analyse, keep what came of it, and print it."""
    from lpt.analyze.traces import Source
    from lpt.look import console
    from lpt.look.analyzed import print_result

    with Source(path) as source:
        made = analysis(source)
        home = out or source.home
    kept = made.save(home) if home else None
    if json:
        typer.echo(made.result.json())
        return
    print_result(made.result, console.data())
    if kept:
        talk = console.talk()
        talk.print(f"\nTables and figures: {kept.parent}/{made.result.analysis}.*", highlight=False, markup=False)
