"""A model that answers at once and within this process: for runs whose servers are of no interest.

What it says depends on the request and the seed alone, so whoever asks again hears the same. Right and wrong, and
now and then something useless, in about the shares that a real run has.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from unittest import mock

import msgspec

from lpt import pipeline
from lpt.models.base import Choice, Model, Reply, Request, Usage
from lpt.records import digest
from lpt.settings import ModelSettings

COLORS = ("red", "blue", "green", "grey")


class Instant:
    """Implements `Model`: asker, student and reasoner, told apart by the stage."""

    def __init__(self, *, questions: int = 4, words: int = 40, useless: float = 0.05) -> None:
        self.asked = 0
        """Samples."""
        self._useless = useless
        self._filler = " ".join(f"detail{i % 97}" for i in range(words))
        asked = [
            {
                "question": f"What colour is object number {i}?",
                "options": list(COLORS),
                "answer": COLORS[i % 4],
                "type": "recognition",
            }
            for i in range(questions)
        ]
        self._questions = msgspec.json.encode({"questions": asked}).decode()

    async def ask(self, request: Request) -> Reply:
        """Answer."""
        self.asked += request.n
        choices = tuple(Choice(text=self._say(request, request.seed + i)) for i in range(request.n))
        usage = Usage(1000, len(self._filler.split()) * request.n, 0)
        return Reply(choices=choices, usage=usage, started=1.0, seconds=0.1)

    def _say(self, request: Request, seed: int) -> str:
        if request.stage == "ask":
            return self._questions
        drawn = int(digest(request.record, seed)[:8], 16)
        if drawn % 1000 < 1000 * self._useless:
            return "I cannot say."
        said = f" let me look again, {drawn}. {self._filler} So it is this one. </think>"
        answer = f"<answer>({'ABCD'[drawn % 4]})</answer>"
        return f"{said} {answer}" if request.stage == "think_harder" else f"<think>{said} {answer}"


@contextlib.contextmanager
def instead(model: Model, *, begun: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Every run asks this model while the context lasts; `begun` is called when one reaches for its servers."""

    class Fleet:
        def __init__(self, models: Mapping[str, ModelSettings], logs: Path, *_: object, **__: object) -> None:
            begun()

        async def __aenter__(self) -> "Fleet":
            return self

        async def __aexit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None: ...

        def __getitem__(self, name: str) -> Model:
            return model

    with mock.patch.object(pipeline, "Fleet", Fleet):
        yield
