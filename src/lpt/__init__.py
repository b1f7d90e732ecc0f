"""Turn captioned images into long visual thoughts that a vision-language model can be trained on.

The whole of the public Python API is here; the commands are thin over it:

```python
import lpt

recipe = lpt.Recipe.load("recipes/demo.toml", ["think.samples=4"])
run = lpt.synthesize(recipe, "runs/demo")   # what the ledger knows is not asked again
lpt.compose(run)
for example in run.sft():
    print(example.category, example.target)
lpt.export(run, "trl")
```

A name is loaded when it is first used: `import lpt` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lpt.captions.base import Bad, Row
    from lpt.curate.compose import compose
    from lpt.curate.funnel import StageCount, funnel
    from lpt.curate.merge import Merged, merge
    from lpt.errors import (
        Interrupted,
        LptError,
        ModelError,
        RecipeError,
        RunError,
        SourceError,
        StoreError,
        UserError,
    )
    from lpt.exports import export
    from lpt.exports.base import Exported
    from lpt.pipeline import synthesize
    from lpt.recipe import Recipe
    from lpt.records import Caption, Drop, Example, Judgement, LongThought, Pair, Question, Thought
    from lpt.store.run import Run
    from lpt.synthesis.grade import Grade, grade
    from lpt.verification import verify

_HOMES = {
    "lpt.recipe": ("Recipe",),
    "lpt.store.run": ("Run",),
    "lpt.pipeline": ("synthesize",),
    "lpt.verification": ("verify",),
    "lpt.curate.compose": ("compose",),
    "lpt.curate.merge": ("merge", "Merged"),
    "lpt.curate.funnel": ("funnel", "StageCount"),
    "lpt.exports": ("export",),
    "lpt.exports.base": ("Exported",),
    "lpt.synthesis.grade": ("grade", "Grade"),
    "lpt.records": ("Caption", "Question", "Thought", "LongThought", "Drop", "Example", "Pair", "Judgement"),
    "lpt.captions.base": ("Row", "Bad"),
    "lpt.errors": (
        "LptError",
        "UserError",
        "RecipeError",
        "SourceError",
        "RunError",
        "ModelError",
        "StoreError",
        "Interrupted",
    ),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [  # in the order of the work: a recipe, a run, what is done to it, its records, what can go wrong
    "Bad",
    "Caption",
    "Drop",
    "Example",
    "Exported",
    "Grade",
    "Interrupted",
    "Judgement",
    "LongThought",
    "LptError",
    "Merged",
    "ModelError",
    "Pair",
    "Question",
    "Recipe",
    "RecipeError",
    "Row",
    "Run",
    "RunError",
    "SourceError",
    "StageCount",
    "StoreError",
    "Thought",
    "UserError",
    "compose",
    "export",
    "funnel",
    "grade",
    "merge",
    "synthesize",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'lpt' has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
