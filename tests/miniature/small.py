"""A schooling of a second. `python -m tests.miniature.small OUT STEP` begins it and is killed at a step."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lpt.miniature.build import Schooling, Term, build


def schooling(**more: Any) -> Schooling:
    """Every part of the real one, in a few steps: two terms, of all kinds of lessons."""
    drills = dict.fromkeys(("describe", "cells", "walks", "steps", "neighbours", "ahead", "counts"), 1.0)
    terms = (Term(4, drills), Term(6, {"simple": 1.0}, 3e-3))
    given: dict[str, Any] = {"boards": 64, "sight": 3, "terms": terms, "batch": 4, "threads": 1, **more}
    return Schooling(width=32, layers=2, **given)


def make(out: Path, told: Callable[[int], None] | None = None, **more: Any) -> Path:
    """Build it; its state is kept after its steps 6, 7, 10 and 13, each a moment after they are told of."""
    build(schooling(**more), out, lambda step, _of, _measured: told(step) if told else None, every=3, examined=4)
    return out


def weights(folder: Path) -> bytes:
    """A student's weights as they lie on disk: the same ones, the same bytes."""
    return (folder / "model.safetensors").read_bytes()


def _killed(at: int) -> Callable[[int], None]:
    return lambda step: os.kill(os.getpid(), signal.SIGKILL) if step == at else None


if __name__ == "__main__":
    make(Path(sys.argv[1]), _killed(int(sys.argv[2])))
