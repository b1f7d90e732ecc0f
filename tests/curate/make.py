"""Small runs, said in few words."""

from pathlib import Path

import msgspec

from lpt.recipe import Recipe
from lpt.records import Caption, Drop, LongThought, Question, Thought, digest
from lpt.settings import CurateSettings
from lpt.store.run import Run
from lpt.store.tables import TABLES, write_table

FORMATS = ("(X)", "X.", "text")
OPTIONS = ("a cube", "a sphere", "a sign", "a wall")


class Long(msgspec.Struct, frozen=True):
    """A long thought to be: its letter and what was said after the cue."""

    letter: str = "A"
    said: str = " I look once more at the left side and count the edges again."
    cue: str = "Wait,"
    joint: str = "\n"
    finish: str = "stop"


class Short(msgspec.Struct, frozen=True):
    """A thought to be, with its long thoughts."""

    letter: str | None = "A"
    said: str = "The object on the left has six faces."
    longs: tuple[Long, ...] = ()
    finish: str = "stop"


Images = list[list[list[Short]]]  # image → question → thought


def settings(**changes: object) -> CurateSettings:
    return msgspec.structs.replace(CurateSettings(), **changes)


def verdict(letter: str | None) -> str:
    return "unparsed" if letter is None else "correct" if letter == "A" else "wrong"


def records(images: Images, recipe: Recipe, prefix: str = "student") -> dict[str, list[msgspec.Struct]]:
    tables: dict[str, list[msgspec.Struct]] = {name: [] for name in TABLES if name not in ("sft", "preferences")}
    order = sorted(range(len(images)), key=lambda i: digest("image", i))
    for i in order:
        caption = Caption.make(
            image=digest("image", i),
            path=f"{i}.png",
            text=f"A cube beside a sphere, number {i}.",
            source="test",
            source_id=str(i),
            seed=recipe.seed,
            validation=recipe.curate.validation,
        )
        tables["captions"].append(caption)
        for j, shorts in enumerate(images[i]):
            question = Question(
                id=digest("question", caption.id, j),
                caption=caption.id,
                image=caption.image,
                index=j,
                stem="What is on the left?",
                options=OPTIONS,
                answer="A",
                kind="spatial",
                answer_format=FORMATS[j % 3],  # type: ignore[arg-type]
                system="Think first.",
                prompt=f"What is on the left? ({j})\n" + "\n".join(OPTIONS),
                reply=None,
                split=caption.split,
            )
            tables["questions"].append(question)
            for k, short in enumerate(shorts):
                thought = simple(question, k, short)
                tables["thoughts"].append(thought)
                if thought.verdict == "unparsed":
                    tables["drops"].append(Drop.make("think", thought.id, thought.image, "unparsed"))
                    continue
                for m, said in enumerate(short.longs):
                    tables["long_thoughts"].append(long(thought, question, m, said, prefix))
    return tables


def simple(question: Question, index: int, short: Short) -> Thought:
    answer = "" if short.letter is None else f" <answer>{short.letter}</answer>"
    text = f"<think> {short.said} </think>{answer}"
    return Thought(
        id=digest("thought", question.id, index, text),
        question=question.id,
        image=question.image,
        index=index,
        text=text,
        thought=short.said,
        answer=short.letter,
        letter=short.letter,
        method=None,
        verdict=verdict(short.letter),  # type: ignore[arg-type]
        format_ok=True,
        finish_reason=short.finish,
        reply=None,
        split=question.split,
    )


def long(thought: Thought, question: Question, index: int, said: Long, prefix: str) -> LongThought:
    cued = prefix == "student"
    text = f"{said.said}\n</think>\n<answer>{said.letter}</answer>"
    return LongThought(
        id=digest("long thought", thought.id, index, text),
        thought=thought.id,
        question=question.id,
        image=question.image,
        cue=said.cue if cued else "",
        index=index,
        prefix=thought.thought if cued else "",
        joint=said.joint if cued else "",
        text=text,
        continuation=said.said if cued else said.said.lstrip(),
        answer=said.letter,
        letter=said.letter,
        method=None,
        before=thought.verdict,
        verdict=verdict(said.letter),  # type: ignore[arg-type]
        format_ok=True,
        finish_reason=said.finish,
        instructed=False,
        reply=None,
        split=question.split,
    )


def write(path: Path, tables: dict[str, list[msgspec.Struct]], recipe: Recipe) -> Run:
    run = Run.create(path, recipe)
    for name, rows in tables.items():
        write_table(run.table_path(name), TABLES[name], rows)
    return run


def make(path: Path, images: Images, curate: CurateSettings | None = None, *, prefix: str = "student") -> Run:
    recipe = Recipe(curate=curate or CurateSettings())
    return write(path, records(images, recipe, prefix), recipe)
