"""A model that says what a test tells it to, and records made of nothing."""

import asyncio
from collections.abc import Callable
from typing import Any

from lpt.models.base import Choice, Image, Message, Reply, Request, Sampling, Usage
from lpt.records import Caption, LongThought, Question, Thought, digest
from lpt.settings import ModelSettings

Says = Callable[[Request, int], str | Choice]


class Scripted:
    """Implements `Model`: choice i of a request says `says(request, i)`, or raises what that raises.

    With a `gate`, every call is out until the test opens it: `gate(request)` is awaited first.
    """

    def __init__(self, says: Says | str, *, gate: Callable[[Request], Any] | None = None) -> None:
        self.requests: list[Request] = []
        self.out = 0
        self.most_out = 0
        self.cancelled = 0
        self._says: Says = (lambda _request, _i: says) if isinstance(says, str) else says
        self._gate = gate

    async def ask(self, request: Request) -> Reply:
        self.requests.append(request)
        self.out += 1
        self.most_out = max(self.most_out, self.out)
        try:
            if self._gate:
                await self._gate(request)
            said = [self._says(request, i) for i in range(request.n)]
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.out -= 1
        return Reply(
            choices=tuple(Choice(text=s) if isinstance(s, str) else s for s in said),
            usage=Usage(10, 5 * request.n, 2),
            started=1.0,
            seconds=0.5,
        )


IMAGE = Image(key="image-key", data=b"jpeg")
SETTINGS = ModelSettings(model="m", url="http://nowhere/v1")


async def settle() -> None:
    """Let everything come as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


def request(text: str = "hello", **more: Any) -> Request:
    given: dict[str, Any] = {
        "stage": "think",
        "record": "r",
        "messages": (Message("user", text),),
        "sampling": Sampling(temperature=0.7),
        "seed": 100,
    }
    return Request(**{**given, **more})


def caption(name: str = "one", text: str = "A red car stands before a blue door.") -> Caption:
    return Caption.make(
        image=digest(name), path=f"{name}.jpg", text=text, source="jsonl", source_id=name, seed=0, validation=0.0
    )


def question(**more: Any) -> Question:
    given: dict[str, Any] = {
        "id": digest("a question"),
        "caption": digest("a caption"),
        "image": digest("an image"),
        "index": 0,
        "stem": "What colour is the car?",
        "options": ("red", "blue", "green", "white"),
        "answer": "B",
        "kind": "recognition",
        "answer_format": "(X)",
        "system": "",
        "prompt": "What colour is the car?\n(A) red\n(B) blue\n(C) green\n(D) white\nSay (X).",
        "reply": None,
        "split": "train",
    }
    return Question(**{**given, **more})


def long_thought(**more: Any) -> LongThought:
    given: dict[str, Any] = {
        "id": digest("a long thought"),
        "thought": digest("a thought"),
        "question": digest("a question"),
        "image": digest("an image"),
        "cue": "Wait,",
        "index": 0,
        "prefix": "The Car is RED.",
        "joint": " ",
        "text": " the Car is Blue.</think> <answer>(B)</answer>",
        "continuation": " the Car is Blue.",
        "answer": "(B)",
        "letter": "B",
        "method": "tag-letter",
        "before": "wrong",
        "verdict": "correct",
        "format_ok": True,
        "finish_reason": "stop",
        "instructed": False,
        "reply": None,
        "split": "train",
    }
    return LongThought(**{**given, **more})


def thought(**more: Any) -> Thought:
    given: dict[str, Any] = {
        "id": digest("a thought"),
        "question": digest("a question"),
        "image": digest("an image"),
        "index": 0,
        "text": "<think>The Car is RED.</think> <answer>(A)</answer>",
        "thought": "The Car is RED.",
        "answer": "(A)",
        "letter": "A",
        "method": "tag-letter",
        "verdict": "wrong",
        "format_ok": True,
        "finish_reason": "stop",
        "reply": None,
        "split": "train",
    }
    return Thought(**{**given, **more})
