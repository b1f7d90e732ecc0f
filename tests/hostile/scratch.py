"""Where a hostile file is read, and what errors may come of it."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lpt.errors import LptError
from lpt.look.safe import safe

Reader = Callable[[bytes], None]

_SCRATCH = Path("/dev/shm") if Path("/dev/shm").is_dir() and os.access("/dev/shm", os.W_OK) else None
SECRET = "the-secret-outside-of-the-folder"


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for one reading, in memory where that can be, beside a file that nobody is to read."""
    outer = Path(tempfile.mkdtemp(prefix="lpt-hostile-", dir=_SCRATCH))
    (outer / "outside.txt").write_text(SECRET)
    (outer / "in").mkdir()
    try:
        yield outer / "in"
    finally:
        shutil.rmtree(outer)


@contextmanager
def owning_up() -> Iterator[None]:
    """Let errors of ours pass, if they say something that a terminal can show."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except LptError as error:
        said = safe(str(error))
    else:
        return
    assert said.strip()
    said.encode()
