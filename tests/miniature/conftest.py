"""A student that knows nothing, and one that was schooled for a second; both need torch."""

from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:  # libraries warn of what they will rename one day
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(scope="session")
def tokens() -> Any:
    """The tokenizer that every student of seed 0 with as many boards has."""
    pytest.importorskip("torch").set_num_threads(1)
    from lpt.miniature import lessons, student
    from lpt.world.boards.board import board
    from lpt.world.words import draw

    boards = [board(draw("tests of words", at)) for at in range(300)]
    return student.tokenizer(lessons.texts(boards, draw("tests of words")))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a whole build has left."""
    pytest.importorskip("torch")
    from tests.miniature.small import make

    return make(tmp_path_factory.mktemp("students") / "built")
