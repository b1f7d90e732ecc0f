"""Stage 3, Think harder: a reasoning LLM, which reads the caption, continues the student's thought after a cue.

It is handed an assistant turn that already holds the thought and the cue, and goes on from there: the cue brings
out verification and backtracking, and the student's own words keep the long thought within the student's
distribution (paper, section 3).
"""

from lpt.models.base import Choice, Message, Model, Request, Sampling, seed_of
from lpt.records import Drop, LongThought, Question, Thought, digest, draw
from lpt.settings import ThinkHarderSettings
from lpt.synthesis import grade, prompts


def cues(settings: ThinkHarderSettings) -> tuple[str, ...]:
    """The cues that each thought is continued after. From scratch there is nothing to cue: one, empty."""
    # A turn that is to be continued never ends in white space, and a record says what was sent.
    return tuple(cue.rstrip() for cue in settings.cues) if settings.prefix == "student" else ("",)


def opening(thought: Thought, cue: str, settings: ThinkHarderSettings, seed: int) -> tuple[str, str, str]:
    """The turn that is handed over, as (prefix, joint, prefill)."""
    if settings.prefix == "none":
        return "", "", settings.opening.rstrip()
    joint = settings.joints[int(draw(seed, thought.id, f"joint {cue}") * len(settings.joints))] if cue else ""
    return thought.thought, joint, f"{settings.opening}{thought.thought}{joint}{cue}".rstrip()


def template(settings: ThinkHarderSettings) -> str:
    """The reasoner's prompt, to be filled.

    Raises:
        RecipeError: the user's file cannot be used.
    """
    return prompts.load("think_harder", settings.prompt, ("caption", "question"))


async def think_harder(
    model: Model,
    thought: Thought,
    question: Question,
    caption: str,
    cue: str,
    settings: ThinkHarderSettings,
    *,
    seed: int,
    rank: int = 0,
) -> tuple[list[LongThought], list[Drop]]:
    """Let the reasoner continue one thought after one cue, `samples` times.

    Raises:
        ModelError: no reply came.
    """
    words = prompts.fill(template(settings), caption=caption, question=question.prompt)
    _, _, prefill = opening(thought, cue, settings, seed)
    reply = await model.ask(
        Request(
            stage="think_harder",
            record=thought.id,
            # The instructions, then the caption, then the question: what is shared by more comes earlier, so
            # that a server's prefix cache holds it; the thought and the cue follow in the turn that is continued.
            messages=(Message("user", words),),
            prefill=prefill or None,
            sampling=Sampling.of(settings, bad_words=settings.bad_words),
            seed=seed_of(seed, thought.id, f"think_harder {cue}"),
            n=settings.samples,
            rank=rank,
            affinity=question.image,
        )
    )
    longs = [read(choice, thought, question, cue, i, settings, seed) for i, choice in reply.samples()]
    lost = [
        Drop.make("think_harder", thought.id, thought.image, "call-failed", f"{reply.lost} {cue}".strip(), index=i)
        for i in reply.missing(settings.samples)
    ]
    return longs, lost + [drop for long in longs if (drop := useless(long))]


def read(
    choice: Choice,
    thought: Thought,
    question: Question,
    cue: str,
    index: int,
    settings: ThinkHarderSettings,
    seed: int,
) -> LongThought:
    """Read one continuation: what was added, the answer, the verdict."""
    prefix, joint, prefill = opening(thought, cue, settings, seed)
    text = choice.joined()
    # What the student said is no answer of the reasoner's; and what was handed over is a thought, whether or not
    # `opening` says so with a tag.
    graded = grade.grade(
        text, question.letters, answer=question.answer, format=question.answer_format, in_thought=bool(prefill)
    )
    return LongThought(
        id=digest("long thought", thought.id, cue, settings.prefix, joint, index, text),
        thought=thought.id,
        question=question.id,
        image=question.image,
        cue=cue,
        index=index,
        prefix=prefix,
        joint=joint,
        text=text,
        continuation=continuation(text, after=cue or prefix),
        answer=grade.answer_text(text, in_thought=bool(prefill)),
        letter=graded.letter,
        method=graded.method,
        before=thought.verdict,
        verdict=graded.verdict,
        format_ok=graded.format_ok,
        finish_reason=choice.finish_reason,
        instructed=choice.instructed,
        reply=choice.key or None,
        split=question.split,
    )


def continuation(text: str, *, after: str) -> str:
    """What a reply adds to the thought, up to where the thought is closed.

    Some servers strip the white space with which a reply begins; between two words it is put back (Chinese and
    Japanese have none to put back).
    """
    added = grade.split_thought(text, in_thought=True)[0].partition("<answer>")[0].rstrip()
    if not after:
        return added.lstrip()
    return f" {added}" if added[:1].isalnum() and added[0] < "\u2e80" else added


def useless(long: LongThought) -> Drop | None:
    """Why a long thought cannot be used: no verdict, or nothing was added."""
    if long.verdict == "unparsed":
        reason = "unfinished" if long.finish_reason == "length" else "unparsed"
    elif not long.continuation:
        reason = "nothing-added"
    else:
        return None
    return Drop.make("think_harder", long.id, long.image, reason)
