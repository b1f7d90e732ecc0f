"""`lpt eval run`, `list`, `show` and `compare`: benchmarks, one grader, intervals."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from lpt.cli.eval_compare import compare
from lpt.cli.eval_export import export

if TYPE_CHECKING:
    from lpt.settings import ModelSettings

app = typer.Typer(help="Evaluate a model on benchmarks, and compare evaluations.", no_args_is_help=True)
app.callback()(lambda: None)
app.command()(compare)
app.command()(export)

_Grader = Annotated[
    str, typer.Option(help="Whose verdicts are shown: lpt; or published, the authors' script, with its inflation.")
]
_Json = Annotated[bool, typer.Option("--json", help="For machines; shares from 0 to 1.")]


@app.command()
def run(
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="The name that the server knows it by; of --recipe, or a checkpoint folder."
        ),
    ],
    benchmarks: Annotated[
        str, typer.Option("--benchmarks", "-b", help="With commas between; paper stands for those of its tables.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder for scores and logs. Once more goes on there.")
    ],
    *,
    url: Annotated[
        Optional[list[str]],  # noqa: UP045 (typer reads it at run time on 3.10)
        typer.Option(help="Where it is served, ending in /v1. Several are replicas."),
    ] = None,
    key_env: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The environment variable that holds the server's key."),
    ] = None,
    launch: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="CMD", help='A command that starts the server: "vllm serve … --port {port}".'),
    ] = None,
    recipe: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Take --model (and --judge) from the [models] of this recipe; for --protocol trained, how it asks."
        ),
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="paper, native, direct or trained: `lpt eval list` says what they mean.")
    ] = "paper",
    samples: Annotated[int, typer.Option("--samples", "-n", min=1, help="Replies for each item.")] = 1,
    temperature: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0, help="In place of the protocol's 0."),
    ] = None,
    max_tokens: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="New tokens of a reply, in place of the protocol's."),
    ] = None,
    longest_side: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=0, help="Pixels of a picture's longer side, in place of the protocol's; 0: as it is."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the samples.")] = 0,
    limit: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Ask at least so many items of each benchmark: whole clusters, drawn by a hash."),
    ] = None,
    max_connections: Annotated[int, typer.Option(min=1, help="Items under way at once.")] = 64,
    data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A folder of the benchmarks' files (DIR/NAME/ or DIR/), in place of downloading them."),
    ] = None,
    accept_revision: Annotated[
        bool, typer.Option("--accept-revision", help="Download the hub's newest commit, and lock that one.")
    ] = False,
    judge: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="A model that reads replies which the grader cannot; named as --model is."),
    ] = None,
    judge_url: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Where the judge is served; by default where the model is."),
    ] = None,
    judge_key_env: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The environment variable that holds the judge's key."),
    ] = None,
    grader: _Grader = "lpt",
    json: _Json = False,
) -> None:
    """Ask a model a benchmark's questions, grade its replies, and show the figures.

    What was answered is kept: after a crash or a Ctrl-C the same command goes on. Benchmarks may be added to
    the same folder one by one. Inspect's own logs are in OUT/logs: inspect view --log-dir OUT/logs
    """
    from lpt.cli import eval_shown
    from lpt.errors import Interrupted, Unavailable, UserError
    from lpt.evaluate import registry
    from lpt.evaluate.protocols import protocol as protocol_of
    from lpt.evaluate.run import Plan, evaluate
    from lpt.recipe import Recipe

    eval_shown.check(grader)
    given = Recipe.load(recipe) if recipe else Recipe()
    asked = protocol_of(
        protocol,
        samples=samples,
        temperature=temperature,
        max_tokens=max_tokens,
        longest_side=longest_side,
        seed=seed,
        think=given.think,
        captions=given.captions,
    )
    name, settings = _model("--model", model, url or [], key_env, launch, recipe)
    judging = None
    if judge:
        there = judge in given.models and not judge_url  # the model's URL is not the judge's then
        where = [] if there else [judge_url] if judge_url else url or []
        starts = None if there else launch
        _, judging = _model("--judge", judge, where, judge_key_env or key_env, starts, recipe)
    elif judge_url or judge_key_env:
        raise UserError("--judge-url and --judge-key-env are about a judge: name it, --judge MODEL")
    plan = Plan(
        out=out,
        model=name,
        settings=settings,
        benchmarks=registry.benchmarks(benchmarks),
        protocol=asked,
        data=data,
        limit=limit,
        connections=max_connections,
        judge=judging,
        accept_revision=accept_revision,
    )
    try:
        with eval_shown.Progress() as progress:
            evaluate(plan, progress)
    except Interrupted as stopped:
        raise Interrupted(f"{stopped}.\nTo go on: the same command again") from None
    failed = eval_shown.show(out, grader, json=json, only=[one.name for one in plan.benchmarks])
    if failed:
        raise Unavailable(
            f"not one reply of {', '.join(failed)} came; {out} says why of each. The same command asks again",
            kind="calls-failed",
        )


@app.command("list")
def list_(json: _Json = False) -> None:
    """List the benchmarks: where they come from, what they weigh, what is reported; and the protocols."""
    from lpt.cli import eval_shown

    eval_shown.list_all(json=json)


@app.command()
def show(
    evaluation: Annotated[Path, typer.Argument(help="A folder that `lpt eval run` wrote.")],
    *,
    grader: _Grader = "lpt",
    json: _Json = False,
) -> None:
    """Show an evaluation's figures, its parse rates, and what went wrong."""
    from lpt.cli import eval_shown

    eval_shown.check(grader)
    eval_shown.show(evaluation, grader, json=json)


def _model(
    option: str, name: str, urls: list[str], key_env: str | None, launch: str | None, recipe: Path | None
) -> "tuple[str, ModelSettings]":
    """What --model or --judge means: a name at a URL, where one is given; a recipe's; a checkpoint."""
    from lpt.errors import UserError
    from lpt.recipe import Recipe
    from lpt.settings import ModelSettings

    models = Recipe.load(recipe).models if recipe else {}
    if name in models and not urls and not launch:
        return models[name].model, models[name]
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file() and not urls and not launch:
        return folder.resolve().name, _checkpoint(folder)
    if bool(urls) == bool(launch):
        other = f"{recipe} has no [models.{name}], it has {', '.join(models)}; " if recipe and not urls else ""
        raise UserError(
            f"{option} {name}: {other}say where it is served (--url http://…/v1), or how it is started "
            "(--launch CMD), or give a checkpoint's folder, which has a config.json"
        )
    more: dict[str, Any] = {"launch": launch} if launch else {"url": tuple(urls)}
    return name, ModelSettings(model=name, key_env=key_env, **more)


def _checkpoint(folder: Path) -> "ModelSettings":
    """A checkpoint, served by `lpt serve`; its version is its weights', so that a retrained one is another."""
    import shlex

    from lpt.records import digest
    from lpt.settings import ModelSettings

    files = sorted(path for path in folder.iterdir() if path.suffix in {".safetensors", ".bin", ".json"})
    version = digest(*((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files))[:16]
    whole = folder.resolve()
    return ModelSettings(
        model=whole.name,
        launch=f"lpt serve {shlex.quote(str(whole))} --name={shlex.quote(whole.name)} --port {{port}}",
        version=version,
    )
