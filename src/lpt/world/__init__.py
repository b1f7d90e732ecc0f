"""A world of scenes whose truth is known: pictures, captions, questions, and three roles that act as models.

```
scene       what there is            ─ render    → picture   ─ seeing   → what a glance makes of it
                                     ─ describe  → caption   ─ reading  → the facts again
                                     ─ questions → stem, options, answer; truth
roles       asker (reads captions), student (looks at pixels), reasoner (continues thoughts)
```
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lpt.world.describe import describe
    from lpt.world.dials import Dials
    from lpt.world.questions import Question, questions, truth
    from lpt.world.reading import read
    from lpt.world.render import png, render
    from lpt.world.roles import Asker, Reasoner, Student, role
    from lpt.world.scene import Facts, Scene, scene, scenes

# Loaded when first used: who wants scenes need not pay for numpy, and nobody pays for what is not asked of.
_HOMES = {
    "Asker": "roles",
    "Dials": "dials",
    "Facts": "scene",
    "Question": "questions",
    "Reasoner": "roles",
    "Scene": "scene",
    "Student": "roles",
    "describe": "describe",
    "png": "render",
    "questions": "questions",
    "read": "reading",
    "render": "render",
    "role": "roles",
    "scene": "scene",
    "scenes": "scene",
    "truth": "questions",
}
__all__ = [
    "Asker",
    "Dials",
    "Facts",
    "Question",
    "Reasoner",
    "Scene",
    "Student",
    "describe",
    "png",
    "questions",
    "read",
    "render",
    "role",
    "scene",
    "scenes",
    "truth",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"lpt.world.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
