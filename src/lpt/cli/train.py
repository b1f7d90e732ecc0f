"""`lpt train sft` and `lpt train dpo`: from a run's sets to a checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from lpt.train.prepare import Prepared
    from lpt.train.session import Trained
    from lpt.train.settings import Stage

INSTALL = "pip install 'long-perceptual-thoughts[train]'"

app = typer.Typer(help="Train a vision-language model on a run's sets.", no_args_is_help=True)
app.callback()(lambda: None)

_TOLD = {
    "loss",
    "learning_rate",
    "grad_norm",
    "rewards/margins",
    "eval_loss",
    "eval_accuracy",
    "eval_unparsed",
    "eval_rewards/margins",
}
"""Which of the trainer's metrics are said; all of them are reported."""

_Source = Annotated[Path, typer.Argument(help="A run folder, or what `lpt export --to trl` wrote.")]
_Out = Annotated[
    Optional[Path],  # noqa: UP045 (typer reads it at run time on 3.10)
    typer.Option("--out", "-o", help="The folder for checkpoints, curves, the model and its card."),
]
_Recipe = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--recipe", "-r", help="A training recipe, by name or file; by default paper-sft, paper-dpo."),
]
_Model = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--model", "-m", help="A folder, or an id of the hub; for dpo: what `lpt train sft` made."),
]
_Set = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", help="Override a setting: --set optimizer.learning_rate=6e-6. May be repeated."),
]
_Show = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--show-masks", metavar="N", min=1, help="Print N examples, each token by its loss, and stop."),
]
_Dry = Annotated[
    bool,
    typer.Option("--dry-run", help="Render, mask, count, estimate memory and time, make one step, and stop."),
]
_Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last whole checkpoint.")]
_Json = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.command()
def sft(
    source: _Source,
    out: _Out = None,
    recipe: _Recipe = None,
    model: _Model = None,
    set_: _Set = None,
    show_masks: _Show = None,
    dry_run: _Dry = False,
    resume: _Resume = False,
    json: _Json = False,
) -> None:
    """Fine-tune on the SFT set: what an example begins with is given, and only what follows is learnt.

    On several GPUs: accelerate launch -m lpt train sft …
    """
    _train("sft", source, out, recipe, model, set_, show_masks, dry_run, resume, json)


@app.command()
def dpo(
    source: _Source,
    out: _Out = None,
    recipe: _Recipe = None,
    model: _Model = None,
    set_: _Set = None,
    show_masks: _Show = None,
    dry_run: _Dry = False,
    resume: _Resume = False,
    json: _Json = False,
) -> None:
    """Go on from the SFT model with the preference set, held to where it started."""
    _train("dpo", source, out, recipe, model, set_, show_masks, dry_run, resume, json)


def _train(
    stage: "Stage",
    source: Path,
    out: Path | None,
    recipe: str | None,
    model: str | None,
    set_: list[str] | None,
    show_masks: int | None,
    dry_run: bool,
    resume: bool,
    json: bool,
) -> None:
    import tempfile

    import msgspec

    from lpt.errors import UserError
    from lpt.look import console
    from lpt.train import settings

    loaded = settings.load(recipe or f"paper-{stage}", stage, tuple(set_ or ()))
    if model:
        loaded = msgspec.structs.replace(loaded, model=msgspec.structs.replace(loaded.model, name=model))
    brief = bool(show_masks) or dry_run
    if out is None and not brief:
        raise UserError("say where checkpoints and the model go: --out FOLDER")
    talk = console.talk()
    with tempfile.TemporaryDirectory(prefix="lpt-train-") as scratch:
        place = Path(scratch) if out is None or brief else out
        try:
            from lpt.train.prepare import prepare, summary

            if show_masks:
                made = prepare(source, place, loaded)
                _print_masks(made, show_masks, json=json)
                return
            from lpt.train import session

            state = session.processes()
            with state.main_process_first():
                made = prepare(source, place, loaded, write=state.is_main_process or brief)
        except ModuleNotFoundError as error:
            raise UserError(f"training needs the package `{error.name}`: {INSTALL}") from error
        numbers = summary(made)
        if state.is_main_process and not json:
            _print_summary(talk, made)

        def tell(step: int, of: int, found: dict[str, float]) -> None:
            said = "  ".join(f"{name} {value:.4g}" for name, value in found.items() if name in _TOLD)
            talk.print(f"step {step:,} of {of:,}  {said}", markup=False, highlight=False)

        trained = session.train(
            made, place, resume=resume, dry_run=dry_run, tell=tell if state.is_main_process else None
        )
        if not state.is_main_process:
            return
        needs = session.estimate(made.model, loaded, made.train.lengths[-1])
        if json:
            found = {"data": numbers, "estimate": needs, "trained": trained}
            typer.echo(msgspec.json.encode(found, enc_hook=str))
        elif dry_run:
            _print_dry(talk, made, trained)
        else:
            typer.echo(trained.model)


def _print_masks(made: "Prepared", number: int, *, json: bool) -> None:
    import msgspec
    from rich.text import Text

    from lpt.look import console
    from lpt.look.safe import safe
    from lpt.train.prepare import shown

    found = shown(made, number)
    if json:
        rows = [
            {
                "example": title,
                "side": side,
                "tokens": [{"text": t, "learnt": a, "compared": b} for t, a, b in tokens],
            }
            for title, side, tokens in found
        ]
        typer.echo(msgspec.json.encode(rows))
        return
    out = console.data()
    key = Text("given: no loss", style="dim").append("   ")
    if made.recipe.stage == "dpo":
        key.append("compared", style="yellow").append("   ").append(
            "compared, and in the SFT term", style="bold green"
        )
    else:
        key.append("learnt", style="bold green")
    out.print(key)
    for title, side, tokens in found:
        out.print(f"\n{safe(title)} {side}".rstrip(), style="bold", markup=False, highlight=False)
        line = Text()
        inside = False
        for text, learnt, compared in tokens:
            if learnt != inside and not out.is_terminal:  # a file has no colours
                line.append("⟦" if learnt else "⟧")
            inside = learnt
            line.append(safe(text), style="bold green" if learnt else "yellow" if compared else "dim")
        if inside and not out.is_terminal:
            line.append("⟧")
        out.print(line, soft_wrap=True)


def _print_summary(talk: "Console", made: "Prepared") -> None:
    from lpt.look.safe import safe
    from lpt.train.prepare import summary

    numbers = summary(made)
    kinds = "  ".join(f"{name} {rows:,}" for name, rows in numbers.categories.items())
    lines = [
        f"{numbers.examples:>11,}  {'pairs' if numbers.stage == 'dpo' else 'examples'} of {numbers.set}: {kinds}",
        f"{numbers.validation:>11,}  for validation, and {numbers.questions:,} questions to answer",
        f"{numbers.tokens:>11,}  tokens, {numbers.learnt:,} of them with loss",
        f"{numbers.longest:>11,}  tokens in the longest, {numbers.median:,} in the middle one",
    ]
    lines += [f"{rows:>11,}  not written: {why}" for why, rows in numbers.skipped.items()]
    lines += [f"{rows:>11,}  left out: {why}" for why, rows in numbers.left_out.items()]
    talk.print("\n".join(map(safe, lines)), markup=False, highlight=False)
    for remark in made.sets.remarks:
        talk.print(safe(remark), style="yellow", markup=False, highlight=False)


def _print_dry(talk: "Console", made: "Prepared", trained: "Trained") -> None:
    from lpt.train import session

    recipe = made.recipe
    needs = session.estimate(made.model, recipe, made.train.lengths[-1])
    gb = 1e9
    epochs = session.epochs(made)
    tokens = made.train.total() * epochs
    seconds = trained.seconds / session.tokens_in_a_step(made) * tokens
    held = {
        "weights": needs.weights,
        "gradients": needs.gradients,
        "optimizer": needs.optimizer,
        "reference": needs.reference,
        "activations, about": needs.activations,
    }
    parts = ", ".join(f"{name} {size / gb:.1f}" for name, size in held.items() if size)
    lines = [
        f"{needs.parameters / gb:>11.3f}  billion parameters, {needs.trained / gb:.3f} of them trained",
        f"{needs.device / gb:>11.1f}  GB a device, unsharded: {parts}",
        f"{needs.checkpoint / gb:>11.1f}  GB a checkpoint, {needs.final / gb:.1f} for the model at the end",
        f"{trained.first_loss:>11.4f}  loss of one step on the longest, in {trained.seconds:.1f} s",
        f"{seconds / 3600:>11.2f}  hours for {epochs:g} epochs at that speed, validation aside",
    ]
    if trained.memory:
        lines.append(f"{trained.memory / gb:>11.1f}  GB of the GPU at the peak")
    talk.print("\n".join(lines), markup=False, highlight=False)
