"""`lpt recipe`: recipes, looked at and begun."""

from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(help="Look at recipes, and begin one.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Look at recipes, and begin one."""


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A recipe (TOML).")],
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045 (typer reads it at run time on 3.10)
        typer.Option("--set", help="Override a setting first."),
    ] = None,
) -> None:
    """Print a recipe fully resolved: every setting with the value that it has."""
    from lpt.recipe import Recipe

    typer.echo(Recipe.load(file, set_ or []).toml(), nl=False)


@app.command()
def new(  # noqa: PLR0917 (typer hands them over by name)
    file: Annotated[Path, typer.Argument(help="The file to write.")] = Path("recipe.toml"),
    source: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="scenes, folder, docci, jsonl, csv or parquet."),
    ] = None,
    path: Annotated[str, typer.Option(help="The folder or file that the source reads.")] = "",
    gpu: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="What models without a URL run on: one (GPU) or many: vLLM is launched; or none."),
    ] = None,
    asker_url: Annotated[str, typer.Option(help="Where the asker is served, ending in /v1.")] = "",
    asker_model: Annotated[str, typer.Option(help="What that server calls it.")] = "",
    student_url: Annotated[str, typer.Option(help="Where the student is served.")] = "",
    student_model: Annotated[str, typer.Option(help="What that server calls it.")] = "",
    reasoner_url: Annotated[str, typer.Option(help="Where the reasoner is served.")] = "",
    reasoner_model: Annotated[str, typer.Option(help="What that server calls it.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a commented recipe. In a terminal, what no option says is asked for."""
    import sys

    from lpt.errors import UserError
    from lpt.recipe import Recipe
    from lpt.starter import GPUS, SOURCES, Answers, Role, Server, in_recipe, recipe_text

    if file.exists() and not force:
        raise UserError(f"{file} is there already: choose another name, or --force overwrites it")
    given: dict[Role, tuple[str, str]] = {
        "asker": (asker_url, asker_model),
        "student": (student_url, student_model),
        "reasoner": (reasoner_url, reasoner_model),
    }
    if sys.stdin.isatty():
        if source is None:
            source = typer.prompt(f"Captioned images from ({', '.join(SOURCES)})", default="scenes")
            if source != "scenes" and not path:
                path = typer.prompt("Its folder or file")
        if gpu is None and not all(url for url, _ in given.values()):
            gpu = typer.prompt(f"GPUs to run models on ({', '.join(GPUS)})", default="none")
        if not any(url or model for url, model in given.values()):
            for role in given:
                url = typer.prompt(f"URL of the {role}, if it is served already", default="", show_default=False)
                given[role] = (url, typer.prompt("What is it called there") if url else "")
    answers = Answers(
        source=source or "scenes",
        path=in_recipe(path, file),
        gpu=gpu or "none",
        servers={role: Server(url.strip(), model.strip()) for role, (url, model) in given.items()},
    )
    text = recipe_text(answers, str(file))
    Recipe.parse(text, name=str(file)).check_models()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror or error}") from error
    typer.echo(f"{file} is written. What next: lpt doctor {file}", err=True)
