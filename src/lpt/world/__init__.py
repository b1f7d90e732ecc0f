"""A world of scenes whose truth is known: pictures, captions, questions, and the roles that act as models.

```
scene       what there is            ─ render    → picture   ─ seeing   → what a glance makes of it
                                     ─ describe  → caption   ─ reading  → the facts again
                                     ─ questions → stem, options, answer; truth
roles       asker (reads captions), student (looks at pixels), reasoner (continues thoughts);
            expert (looks harder), judge (reads traces)
```
"""

# Read at once, not on demand: some functions have the name of their module (`render`, `scene`), and a module
# that is imported later would take the name back. No network and no tables are behind any of them.
from lpt.world.describe import describe
from lpt.world.dials import Dials
from lpt.world.questions import Question, questions, truth
from lpt.world.reading import read
from lpt.world.render import png, render
from lpt.world.roles import Asker, Expert, Judge, Reasoner, Student, role
from lpt.world.scene import Facts, Scene, scene, scenes

__all__ = [
    "Asker",
    "Dials",
    "Expert",
    "Facts",
    "Judge",
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
