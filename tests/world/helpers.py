"""Prompts in words of the tests' own: the world may not know any."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from lpt.serving.protocol import Ask, Turn
from lpt.world.describe import describe
from lpt.world.questions import Question, questions
from lpt.world.render import png
from lpt.world.scene import Scene, scene
from lpt.world.words import draw

SYSTEM = "Think between <think> and </think>, then write <answer> </answer>. Give it as (X), X being the letter."
WORLD = 11


@lru_cache(maxsize=128)
def image(index: int, style: str = "rich") -> bytes:
    return png(scene(WORLD, index, style))


def put(question: Question, options: tuple[str, ...] | None = None) -> str:
    lines = [f"({letter}) {text}" for letter, text in zip("ABCD", options or question.options, strict=True)]
    return "\n".join([question.stem, "Pick one of these.", *lines])


def cases(count: int, style: str = "rich") -> Iterator[tuple[int, Scene, Question]]:
    for index in range(count):
        made = scene(WORLD, index, style)
        for question in questions(made.facts, draw("test", index)):
            yield index, made, question


def student_ask(question: Question, images: tuple[bytes, ...], temperature: float = 0.7, **more: Any) -> Ask:
    turns = (Turn("system", SYSTEM), Turn("user", put(question), images))
    return Ask("m", turns, temperature=temperature, **more)


def reasoner_ask(question: Question, made: Scene | None, prefill: str | None, **more: Any) -> Ask:
    seen = f'Your mental image: "{describe(made)}" Use it.' if made else "You have no mental image."
    turns = (Turn("system", SYSTEM + "\n" + seen), Turn("user", put(question, more.pop("options", None))))
    return Ask("m", turns, prefill=prefill, **{"temperature": 0.7, **more})


def chosen(text: str, options: tuple[str, ...]) -> str | None:
    """A strict little grader of the tests' own."""
    found = re.search(r"<answer>\s*(.*?)\s*(?:</answer>|$)", text, re.DOTALL)
    if not found:
        return None
    letter = re.fullmatch(r"\(?([A-D])[.)]?(?:\s.*)?", found[1])
    if letter:
        return options["ABCD".index(letter[1])]
    return found[1] if found[1] in options else None


def thought_for(option: str, question: Question) -> str:
    letter = "ABCD"[question.options.index(option)]
    return f"<think> I look at the picture with care. Based on this, the best match is ({letter}) {option}."
