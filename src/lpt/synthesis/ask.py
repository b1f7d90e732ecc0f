"""Stage 1, Ask: an LLM reads a dense caption and writes multiple-choice questions.

The caption makes the answers verifiable. Asked for JSON by schema where the server can hold to one; tagged text is
understood as well, and where neither can be read, a second call may put the reply into form.
"""

import json
import re
import unicodedata
from collections.abc import Container, Iterator, Sequence

import msgspec

from lpt.models.base import Choice, Message, Model, Request, Sampling, seed_of
from lpt.records import LETTERS, Caption, Drop, Question, digest
from lpt.settings import AskSettings, ThinkSettings
from lpt.synthesis import grade, present, prompts
from lpt.synthesis.grade_forms import LONGEST, normalise

OPTIONS = 4
_TRIES = 100
"""Braces that may open nothing before a reply is no JSON: each costs a look at the whole of it."""
_LONGEST_KIND = 200
_EMPTY = re.compile(r'"questions"\s*:\s*\[\s*\]|\A(?:```\w*\s*)?\[\s*\](?:\s*```)?\Z')

_JSON_FORM = (
    'Answer with one JSON object: {"questions": [{"question": …, "options": [four strings], '
    '"answer": the right option, word for word, "type": the kind of reasoning}, …]}.'
)
_TAGGED_FORM = (
    "Number the questions and write each as: <question> … </question> <choices> (A) … (B) … (C) … (D) … </choices> "
    "<answer> the right option, word for word </answer> <type> the kind of reasoning </type>"
)
_SCHEMA = {
    "type": "object",
    "properties": {
        "questions": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "question": {"type": "string"},
                    "options": {
                        "type": "array",
                        "items": {"type": "string"},
                        "minItems": OPTIONS,
                        "maxItems": OPTIONS,
                    },
                    "answer": {"type": "string"},
                    "type": {"type": "string"},
                },
                "required": ["question", "options", "answer", "type"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["questions"],
    "additionalProperties": False,
}


class Asked(msgspec.Struct, frozen=True):
    """A question as the asker wrote it, not yet checked."""

    stem: str
    options: tuple[str, ...]
    answer: str
    kind: str


def template(settings: AskSettings) -> str:
    """The asker's prompt, to be filled.

    Raises:
        RecipeError: the user's file cannot be used.
    """
    return prompts.load("ask", settings.prompt, ("caption",))


async def ask(
    model: Model,
    caption: Caption,
    settings: AskSettings,
    shown: ThinkSettings,
    system: str,
    *,
    seed: int,
    rank: int = 0,
) -> tuple[list[Question], list[Drop]]:
    """Let the asker write questions on one caption; what is not a sound question becomes a drop.

    `shown` and `system` say how the student will see them.

    Raises:
        ModelError: no reply came.
    """
    form = _JSON_FORM if settings.structured else _TAGGED_FORM
    words = prompts.fill(template(settings), caption=caption.text, questions=settings.questions, form=form)
    choice = await _say(model, caption, settings, words, seed_of(seed, caption.id, "ask"), rank)
    asked = list(read(choice.joined()))
    if not asked and _none(choice.joined()):
        return [], [Drop.make("ask", caption.id, caption.image, "no-questions")]
    if not asked and settings.reparse and choice.text.strip():
        words = prompts.fill(prompts.load("reparse"), text=choice.joined(), form=form)
        choice = await _say(model, caption, settings, words, seed_of(seed, caption.id, "reparse"), rank)
        asked = list(read(choice.joined()))
    if not asked:
        reason = "unfinished" if choice.finish_reason == "length" else "unreadable"
        return [], [Drop.make("ask", caption.id, caption.image, reason)]
    return check(asked, caption, shown, system, seed=seed, reply=choice.key or None, most=settings.questions)


async def _say(model: Model, caption: Caption, settings: AskSettings, words: str, seed: int, rank: int) -> Choice:
    reply = await model.ask(
        Request(
            stage="ask",
            record=caption.id,
            messages=(Message("user", words),),
            sampling=Sampling.of(settings),
            schema=_SCHEMA if settings.structured else None,
            seed=seed,
            rank=rank,
            affinity=caption.image,
        )
    )
    return reply.choices[0]


def check(
    asked: list[Asked],
    caption: Caption,
    shown: ThinkSettings,
    system: str,
    *,
    seed: int,
    reply: str | None,
    places: Sequence[int] | None = None,
    sizes: Container[int] = (OPTIONS,),
    most: int | None = None,
) -> tuple[list[Question], list[Drop]]:
    """Sort questions into sound ones, as they will be shown, and drops with the reason.

    `places` are the questions' places among those of the caption, by default as they stand; `sizes` says how many
    options a question may have. Once there are `most` sound ones, the rest is surplus.
    """
    questions: list[Question] = []
    drops: list[Drop] = []
    stems: set[str] = set()
    for index, item in zip(range(len(asked)) if places is None else places, asked, strict=True):
        reason, right = fault(item, sizes)
        if not reason and _plain(item.stem) in stems:
            reason = "asked-twice"
        if not reason and len(questions) == most:
            reason = "surplus"
        if reason:
            drops.append(
                Drop.make(
                    "ask", caption.id, caption.image, reason, f"question {index + 1}: {item.stem}", index=index
                )
            )
            continue
        stems.add(_plain(item.stem))
        # How it is shown is drawn from what is asked. The id covers both: a thought is about the question as shown.
        name = digest("asked", caption.id, index, item.stem, *item.options, right)
        some = present.some(item.options, right, name, seed, shown.fewest_options)
        options = present.order(some, name, seed)
        form = present.answer_format(name, seed, shown.formats)
        prompt = present.prompt(item.stem, options, form)
        questions.append(
            Question(
                id=digest("question", name, system, prompt),
                caption=caption.id,
                image=caption.image,
                index=index,
                stem=item.stem,
                options=options,
                answer=LETTERS[options.index(right)],
                kind=kind(item.kind),
                answer_format=form,
                system=system,
                prompt=prompt,
                reply=reply,
                split=caption.split,
            )
        )
    return questions, drops


def fault(item: Asked, sizes: Container[int] = (OPTIONS,)) -> tuple[str, str]:
    """What is wrong with a question, and its right option: exactly one of the two is empty."""
    if not item.stem:
        return "no-stem", ""
    if len(item.options) not in sizes:
        return "not-four-options" if sizes == (OPTIONS,) else "number-of-options", ""
    if not all(item.options):
        return "empty-option", ""
    if max(map(len, (item.stem, item.answer, *item.options))) > LONGEST:
        return "too-long", ""
    if len({normalise(option) for option in item.options}) != len(item.options):
        return "options-alike", ""
    letters = dict(zip(LETTERS, item.options, strict=False))
    letter = grade.grade(f"<answer>{item.answer}</answer>", letters).letter
    if letter is None:
        return "answer-not-an-option", ""
    right = letters[letter]
    stem = f" {_plain(item.stem)} "
    if f" {_plain(right)} " in stem and not any(
        f" {_plain(option)} " in stem for option in item.options if option != right
    ):
        return "answer-in-stem", ""
    return "", right


def kind(text: str) -> str:
    """The reasoning type in one word of ours where it is one of the paper's five; else the asker's own, tidied."""
    plain = _plain(text[:_LONGEST_KIND])
    for word, ours in _KINDS.items():
        if word in plain:
            return ours
    return plain or "other"


_KINDS = {
    "spatial": "spatial",
    "relational": "spatial",
    "count": "counting",
    "quantif": "counting",
    "causal": "causal",
    "commonsense": "causal",
    "analog": "goal",
    "goal": "goal",
    "recogni": "recognition",
}


def read(text: str) -> Iterator[Asked]:
    """Read the questions out of a reply, as JSON or as tagged text; whole ones out of a reply that was cut."""
    _, text = grade.split_thought(text)
    found = list(_read_json(text))
    yield from found or _read_tagged(text)


def _none(text: str) -> bool:
    """Whether a reply is an empty list of questions: an answer that was understood, and no reason to ask again."""
    _, text = grade.split_thought(text)
    return _EMPTY.search(text.strip()) is not None


def _read_json(text: str) -> Iterator[Asked]:
    # Raw control characters inside strings come from real structured decoders, hence strict=False.
    decoder = json.JSONDecoder(strict=False)
    at = failed = 0
    while failed < _TRIES and (at := text.find("{", at)) >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):  # ValueError: not JSON, or a number of thousands of digits
            at += 1  # a cut list: its whole members still stand inside
            failed += 1
            continue
        items = value.get("questions", [value])
        yield from (
            _asked(item) for item in (items if isinstance(items, list) else [items]) if isinstance(item, dict)
        )
        at = end


def _asked(item: dict[str, object]) -> Asked:
    options = item.get("options", item.get("choices", ()))
    if isinstance(options, dict):
        options = [option for _, option in sorted(options.items())]  # by letter, whatever their order
    elif isinstance(options, str):
        options = lettered(options)
    elif not isinstance(options, list):
        options = []
    return Asked(
        stem=text_of(item.get("question")),
        options=bare(tuple(text_of(option) for option in options)),
        answer=text_of(item.get("answer")),
        kind=text_of(item.get("type")),
    )


def _read_tagged(text: str) -> Iterator[Asked]:
    # Each question runs to the next opening tag: a pattern over the whole text would look again and again
    # for closing tags that never come.
    for part in re.split(r"<question>", text, flags=re.IGNORECASE)[1:]:
        stem, closed, rest = part.partition("</question>")
        if closed:
            yield Asked(
                stem=stem.strip(),
                options=tuple(lettered(_tag(rest, "choices") or _tag(rest, "options"))),
                answer=_tag(rest, "answer"),
                kind=_tag(rest, "type"),
            )


def _tag(text: str, name: str) -> str:
    return text.partition(f"<{name}>")[2].partition(f"</{name}>")[0].strip()


def lettered(text: str) -> list[str]:
    """Split "(A) red (B) blue" or a line an option at its letters, which must come in their order."""
    options: list[str] = []
    marks = list(re.finditer(r"(?:^|(?<=\s))\(?([A-J])[).:]\s+", text))
    starts: list[tuple[int, int]] = []
    for mark in marks:
        if mark.group(1) == LETTERS[len(starts) : len(starts) + 1]:
            starts.append((mark.start(), mark.end()))
    for i, (_, end) in enumerate(starts):
        stop = starts[i + 1][0] if i + 1 < len(starts) else len(text)
        options.append(text[end:stop].strip())
    return options


def bare(options: tuple[str, ...]) -> tuple[str, ...]:
    """Options without the letters before them, if all have theirs."""
    marks = [re.match(r"\(?([A-J])[).:]\s+", option) for option in options]
    lettered = {m.group(1): option[m.end() :].strip() for option, m in zip(options, marks, strict=True) if m}
    if sorted(lettered) == list(LETTERS[: len(options)]):
        return tuple(lettered[letter] for letter in sorted(lettered))  # an answer "A" means the one marked A
    return options


def text_of(value: object) -> str:
    """A text or a number as text; empty for anything else."""
    if isinstance(value, (int, float)):
        return str(value)
    # An escape such as \ud83d alone is JSON, but no text.
    return value.encode("utf-8", "replace").decode().strip() if isinstance(value, str) else ""


def _plain(text: str) -> str:
    """Words alone, for comparing: compatibility forms, case, punctuation and spacing set aside."""
    text = unicodedata.normalize("NFKC", text).casefold()
    # Marks are parts of words: without its vowel signs, Hindi is consonants.
    return " ".join("".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in text).split())
