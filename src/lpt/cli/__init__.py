"""The command line: one file a verb, which parses, calls and prints.

Verbs import what they run when they run, so that `lpt --help` costs nothing.
"""

import sys

import typer

from lpt.cli import (
    analyze,
    audit,
    check,
    compose,
    doctor,
    export,
    gather,
    grade,
    import_,
    ledger,
    miniature,
    plan,
    recipe,
    report,
    run,
    serve,
    show,
    sim,
    status,
    train,
    verify,
    view,
)
from lpt.cli import eval as eval_
from lpt.errors import LptError, StoreError

app = typer.Typer(
    name="lpt",
    help="Turn captioned images into long visual thoughts to train vision-language models on.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(doctor.doctor)
app.command()(plan.plan)
app.command()(run.run)
app.command()(gather.gather)
app.command()(status.status)
app.command()(show.show)
app.command()(view.view)
app.command()(report.report)
app.command()(audit.audit)
app.command()(verify.verify)
app.command()(compose.compose)
app.command()(export.export)
app.add_typer(train.app, name="train")
app.add_typer(analyze.app, name="analyze")
app.add_typer(eval_.app, name="eval")
app.add_typer(miniature.app, name="miniature")
imports = typer.Typer(help="Make a run from what others made.", no_args_is_help=True)
imports.callback()(lambda: None)
imports.command()(import_.published)
imports.command()(import_.sharegpt)
imports.command()(import_.lpt30k)
app.add_typer(imports, name="import")
app.command()(ledger.ledger)
app.command()(check.check)
app.command()(grade.grade)
app.add_typer(recipe.app, name="recipe")
app.command()(sim.sim)
app.command()(serve.serve)


def main() -> None:
    """Run the command line; errors of ours become one message and an exit code that means something."""
    try:
        app()
    except LptError as error:
        from lpt.look.safe import safe  # a message may quote a server or a file

        print(f"lpt: {safe(str(error))}", file=sys.stderr)  # noqa: T201 (the one place where errors are said)
        sys.exit(error.exit_code)
    except BaseException as error:
        # The pages of a table are read long after it was opened, wherever a query is carried out.
        tables = sys.modules.get("lpt.store.tables")
        if tables is None or not tables.damaged_table(error):
            raise
        print(f"lpt: {tables.DAMAGED}", file=sys.stderr)  # noqa: T201 (as above)
        sys.exit(StoreError.exit_code)
