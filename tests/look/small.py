"""A run that was never made: a record of each kind, put into tables by hand."""

from pathlib import Path
from typing import Any

import msgspec

from lpt.recipe import Recipe
from lpt.records import Caption, Drop, Example, LongThought, Pair, Question, Thought, digest
from lpt.store.run import Run
from lpt.store.tables import write_table
from tests.scripted import caption, question, thought

RECIPE = """
[models.student]
model = "m"
url = "http://nowhere/v1"
price = { input = 1.0, output = 2.0, cached = 0.1 }
"""


class Small:
    """The records, each a step from the one before; `save` writes them."""

    def __init__(self, **words: Any) -> None:
        self.caption = caption("one", words.get("caption", "A red car stands before a blue door."))
        self.question = question(
            id=digest("q"), caption=self.caption.id, image=self.caption.image, **words.get("question", {})
        )
        self.thought = thought(
            id=digest("t"), question=self.question.id, image=self.caption.image, **words.get("thought", {})
        )
        self.long = msgspec.convert(
            {
                **{
                    name: getattr(self.thought, name) for name in ("letter", "method", "format_ok", "finish_reason")
                },
                "id": digest("l"),
                "thought": self.thought.id,
                "question": self.question.id,
                "image": self.caption.image,
                "cue": "Wait,",
                "index": 1,
                "prefix": self.thought.thought,
                "joint": "\n",
                "text": "",
                "continuation": " the car is blue.",
                "answer": "(B)",
                "before": "wrong",
                "verdict": "correct",
                "instructed": False,
                "reply": None,
                "split": "train",
                **words.get("long", {}),
            },
            LongThought,
        )
        shared = {"image": self.caption.image, "question": self.question.id, "system": "", "split": "train"}
        self.example = msgspec.convert(
            {
                **shared,
                "id": digest("e"),
                "set": "long",
                "category": "X→O",
                "source": self.long.id,
                "cue": "Wait,",
                "prompt": self.question.prompt,
                "prefix": "<think>The Car is RED.",
                "target": "Wait, no.</think>",
            },
            Example,
        )
        self.pair = msgspec.convert(
            {
                **shared,
                "id": digest("p"),
                "category": "X→O≻X",
                "prompt": self.question.prompt,
                "chosen": "c",
                "rejected": "r",
                "chosen_source": self.long.id,
                "rejected_source": self.thought.id,
                "shared": "",
            },
            Pair,
        )
        self.unread = Drop.make("captions", "broken.jpg", "", "not-an-image", "broken.jpg")
        self.left = Drop.make(
            "filter", self.long.id, self.caption.image, "leak", words.get("detail", "the description says")
        )

    def save(self, path: Path, recipe: str = RECIPE) -> Run:
        run = Run.create(path, Recipe.parse(recipe))
        kinds: list[tuple[str, type[msgspec.Struct], list[Any]]] = [
            ("captions", Caption, [self.caption]),
            ("questions", Question, [self.question]),
            ("thoughts", Thought, [self.thought]),
            ("long_thoughts", LongThought, [self.long]),
            ("sft", Example, [self.example]),
            ("preferences", Pair, [self.pair]),
            ("drops", Drop, [self.unread, self.left]),
        ]
        for name, kind, records in kinds:
            write_table(run.table_path(name), kind, records)
        return run
