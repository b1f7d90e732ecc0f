"""The whole journey from Python: a recipe, a run, its funnel, its records, an export.

python examples/from_python.py [OUT]
"""

import sys
from pathlib import Path

import lpt

RECIPES = Path(__file__).resolve().parent.parent / "recipes"


def main(out: Path) -> None:
    """Make a small run of scenes and look at what came of it."""
    recipe = lpt.Recipe.load(RECIPES / "demo.toml", ["captions.count=4", "think_harder.samples=1"])
    run = lpt.synthesize(recipe, out)
    for stage in lpt.compose(run):
        print(f"{stage.stage:<14}{stage.made:>6} made{stage.kept:>6} kept  {stage.dropped or ''}")

    questions = {question.id: question for question in run.questions()}
    mended = next(example for example in run.sft() if example.category == "X→O")
    question = questions[mended.question]
    print(f"\n{question.stem} {question.letters}\nright: {question.answer}")
    print(f"given, not learnt: {mended.prefix.strip()}\nlearnt: {mended.target.strip()}")

    written = lpt.export(run, "trl")
    print(f"\n{written.counts} in {run.path / 'exports' / 'trl'}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/from_python"))
