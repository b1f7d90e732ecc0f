"""Stage 2, Think: the VLM that will be trained answers from the image, with a short thought.

It sees the image and the question, never the caption. Its errors are the material of the method: a wrong thought
that is later put right teaches backtracking.
"""

from lpt.models.base import Choice, Image, Message, Model, Request, Sampling, seed_of
from lpt.records import Drop, Question, Thought, digest
from lpt.settings import ThinkSettings
from lpt.synthesis import grade, prompts


def system(settings: ThinkSettings) -> str:
    """The system message under which the student answers, and will be trained."""
    return prompts.load("think", settings.prompt)


async def think(
    model: Model,
    question: Question,
    image: Image,
    settings: ThinkSettings,
    *,
    seed: int,
    rank: int = 0,
    first: int = 0,
    count: int | None = None,
) -> tuple[list[Thought], list[Drop]]:
    """Ask the student for samples; every reply becomes a thought, and those of no use a drop as well.

    Args:
        model: the student.
        question: what is asked.
        image: what it sees beside it.
        settings: the recipe's [think].
        seed: the recipe's.
        rank: the image's place in the run.
        first: the first sample that is drawn now.
        count: how many samples are drawn now; by default all.

    Raises:
        ModelError: no reply came. Nothing is said about the question then.
    """
    count = settings.samples if count is None else count
    prefill = settings.prefill.rstrip()
    user = Message("user", question.prompt, (image,))
    head = (Message("system", question.system),) if question.system else ()
    reply = await model.ask(
        Request(
            stage="think",
            record=question.id,
            messages=(*head, user),
            prefill=prefill or None,
            sampling=Sampling.of(settings),
            seed=seed_of(seed, question.id, "think") + first,
            n=count,
            rank=rank,
            affinity=question.image,
        )
    )
    thoughts = [read(choice, question, first + i, prefill) for i, choice in reply.samples()]
    lost = [
        Drop.lost("think", question.id, question.image, reply.lost, index=first + i) for i in reply.missing(count)
    ]
    return thoughts, lost + [drop for thought in thoughts if (drop := useless(thought))]


def read(choice: Choice, question: Question, index: int, prefill: str = "") -> Thought:
    """Read one reply: the thought, the answer, the verdict."""
    text = prefill + choice.joined()
    thought, _ = grade.split_thought(text)
    graded = grade.grade(text, question.letters, answer=question.answer, format=question.answer_format)
    return Thought(
        id=digest("thought", question.id, index, text),
        question=question.id,
        image=question.image,
        index=index,
        text=text,
        thought=thought.strip(),
        answer=grade.answer_text(text),
        letter=graded.letter,
        method=graded.method,
        verdict=graded.verdict,
        format_ok=graded.format_ok,
        finish_reason=choice.finish_reason,
        reply=choice.key or None,
        split=question.split,
    )


def useless(thought: Thought) -> Drop | None:
    """Why a thought cannot be thought further: it says neither right nor wrong, or nothing at all."""
    if thought.verdict == "unparsed":
        reason = "unfinished" if thought.finish_reason == "length" else "unparsed"
    elif not thought.thought:
        reason = "no-thought"
    else:
        return None
    return Drop.make("think", thought.id, thought.image, reason)
