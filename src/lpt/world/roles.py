"""The simulated roles, by name: the method's three, two that give an opinion (`lpt verify`), and two for boards."""

from collections.abc import Callable
from typing import Final

from lpt.serving.protocol import Responder
from lpt.world.asker import Asker
from lpt.world.boards.roles import BoardAsker, BoardReasoner
from lpt.world.dials import Dials
from lpt.world.judge import Judge
from lpt.world.reasoner import Reasoner
from lpt.world.student import Expert, Student

ROLES: Final[dict[str, Callable[[Dials | None], Responder]]] = {
    "asker": Asker,
    "student": Student,
    "reasoner": Reasoner,
    "expert": Expert,
    "judge": Judge,
    "board-asker": BoardAsker,
    "board-reasoner": BoardReasoner,
}
asker: Final[Responder] = Asker()
student: Final[Responder] = Student()
reasoner: Final[Responder] = Reasoner()
expert: Final[Responder] = Expert()
judge: Final[Responder] = Judge()


def role(name: str, dials: Dials | None = None) -> Responder:
    """A role with its dials set.

    Args:
        name: One of `ROLES`.
        dials: How it errs; the defaults where None.

    Raises:
        ValueError: There is no such role.
    """
    if name not in ROLES:
        raise ValueError(f"the world has the roles {', '.join(ROLES)}, not {name!r}")
    return ROLES[name](dials)


__all__ = [
    "ROLES",
    "Asker",
    "Dials",
    "Expert",
    "Judge",
    "Reasoner",
    "Student",
    "asker",
    "expert",
    "judge",
    "reasoner",
    "role",
    "student",
]
