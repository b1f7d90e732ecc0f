"""The asker: reads the caption in its prompt and writes questions about it."""

import json
import random
from typing import Any

import msgspec

from lpt.serving.protocol import Ask, Said
from lpt.world.dials import Dials
from lpt.world.hearing import caption
from lpt.world.questions import Question, questions
from lpt.world.telling import finish
from lpt.world.words import draw

_AT_A_LOSS = "I would need a description of the picture before I could write questions about it."
_ELSEWHERE = ("Cannot be determined", "None of these", "Something else entirely", "Both of the first two")


class Asker:
    """A responder that writes multiple-choice questions.

    Args:
        dials: How many, and how often it errs.
    """

    def __init__(self, dials: Dials | None = None) -> None:
        self.dials = dials or Dials()

    def __call__(self, ask: Ask, seed: int) -> Said:
        """Questions as JSON where the request has a schema, else as numbered, tagged text."""
        texts = tuple(turn.text for turn in ask.turns)
        rng = draw("asker", seed if ask.temperature > 0 else 0, *texts)
        marked = [(question, self._mark(question, rng)) for question in self._write(ask, rng)]
        if self.dials.giveaway:  # a dial at rest draws nothing, so that the others' draws stay as they are
            marked = [self._betray(question, answer, rng) for question, answer in marked]
        if ask.schema is not None:
            text = json.dumps(_by_schema(ask.schema, marked), ensure_ascii=False)
        elif not marked:
            return finish(_AT_A_LOSS, ask)
        else:
            text = "\n\n".join(_tagged(number, q, answer) for number, (q, answer) in enumerate(marked, start=1))
        if rng.random() < self.dials.malformed:
            text = text[: int(len(text) * rng.uniform(0.3, 0.95))]
        return finish(text, ask)

    def _write(self, ask: Ask, rng: random.Random) -> list[Question]:
        """Questions on what the caption tells; none where there is no caption."""
        facts = caption(ask)
        return questions(facts, rng, self.dials.questions) if facts else []

    def _mark(self, question: Question, rng: random.Random) -> str:
        """The answer that is given out as the right one."""
        toss = rng.random()
        if toss < self.dials.invalid:
            return rng.choice(_ELSEWHERE)
        if toss < self.dials.invalid + self.dials.wrong_answer:
            return rng.choice([option for option in question.options if option != question.answer])
        return question.answer

    def _betray(self, question: Question, answer: str, rng: random.Random) -> tuple[Question, str]:
        """The question and its answer, or the same with a full stop after the marked answer alone."""
        if rng.random() >= self.dials.giveaway or answer not in question.options:
            return question, answer
        options = tuple(f"{option}." if option == answer else option for option in question.options)
        return msgspec.structs.replace(question, options=options), f"{answer}."


def _tagged(number: int, question: Question, answer: str) -> str:
    choices = " ".join(f"({letter}) {text}" for letter, text in zip("ABCD", question.options, strict=True))
    return (
        f"{number}. <question> {question.stem} </question> <choices> {choices} </choices> "
        f"<answer> {answer} </answer> <type> {question.type} </type>"
    )


def _by_schema(schema: dict[str, Any], marked: list[tuple[Question, str]]) -> Any:
    """The questions in the form that a JSON schema asks for, its own property names kept."""
    root = schema.get("schema", schema)  # OpenAI wraps the schema once more
    if not isinstance(root, dict):
        root = {}
    defs = {**root.get("definitions", {}), **root.get("$defs", {})}
    shape = _resolved(root, defs)
    if shape.get("type") == "array":
        return [_item(_resolved(shape.get("items", {}), defs), q, a, defs) for q, a in marked]
    fields = shape.get("properties", {"questions": {"type": "array", "items": {}}})
    out: dict[str, Any] = {}
    for name, field in fields.items():
        inner = _resolved(field, defs)
        if inner.get("type") == "array":
            out[name] = [_item(_resolved(inner.get("items", {}), defs), q, a, defs) for q, a in marked]
        else:
            out[name] = _blank(inner)
    return out


def _item(shape: dict[str, Any], question: Question, answer: str, defs: dict[str, Any]) -> Any:
    fields = shape.get("properties", {"question": {}, "options": {}, "answer": {}, "type": {}})
    return {name: _field(name.lower(), _resolved(field, defs), question, answer) for name, field in fields.items()}


def _field(name: str, shape: dict[str, Any], question: Question, answer: str) -> Any:
    """One property of a question, told by its name and by what values its schema allows."""
    allowed = [str(value) for value in shape.get("enum", [])]
    if "option" in name or "choice" in name:
        if shape.get("type") == "object":
            letters = list(shape.get("properties", {})) or list("ABCD")
            return dict(zip(letters, question.options, strict=False))
        return list(question.options)
    if "answer" in name or "correct" in name:
        place = question.options.index(answer) if answer in question.options else 0
        if shape.get("type") == "integer":
            return place
        return "ABCD"[place] if "letter" in name or allowed[:2] == ["A", "B"] else answer
    if "type" in name or "kind" in name or "category" in name:
        if allowed:
            wanted = question.type.casefold()
            first = wanted.split()[0]
            return next((a for a in allowed if a.casefold() == wanted), None) or next(
                (a for a in allowed if first in a.casefold()), allowed[-1]
            )
        return question.type
    if "question" in name or "stem" in name:
        return question.stem
    return _blank(shape)


def _resolved(shape: Any, defs: dict[str, Any]) -> dict[str, Any]:
    """A schema with its reference followed and an optional's null left aside."""
    if not isinstance(shape, dict):
        return {}
    if "$ref" in shape:
        return _resolved(defs.get(str(shape["$ref"]).rsplit("/", 1)[-1], {}), defs)
    for choice in shape.get("anyOf", []):
        if isinstance(choice, dict) and choice.get("type") != "null":
            return _resolved(choice, defs)
    return shape


def _blank(shape: dict[str, Any]) -> Any:
    if "enum" in shape:
        return shape["enum"][0]
    empty = {"string": "", "integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}
    return empty.get(str(shape.get("type")))
