"""The simulated roles, by name: the method's three, and two that give an opinion (`lpt verify`)."""

from collections.abc import Callable
from typing import Final

from lpt.serving.protocol import Responder
from lpt.world.asker import Asker
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
}
asker: Final[Responder] = Asker()
student: Final[Responder] = Student()
reasoner: Final[Responder] = Reasoner()
expert: Final[Responder] = Expert()
judge: Final[Responder] = Judge()


def role(name: str, dials: Dials | None = None) -> Responder:
    """A role with its dials set.

    Args:
        name: asker, student, reasoner, expert or judge.
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
