"""Stage 3, Think harder: a reasoning LLM, which reads the caption, continues the student's thought after a cue.

It is handed an assistant turn that already holds the thought and the cue, and goes on from there: the cue brings
out verification and backtracking, and the student's own words keep the long thought within the student's
distribution (paper, section 3).
"""

import re

from msgspec.structs import replace

from lpt.errors import ModelError
from lpt.models.base import Choice, Message, Model, Request, Sampling, seed_of
from lpt.records import Drop, LongThought, Question, Thought, digest, draw
from lpt.settings import ThinkHarderSettings
from lpt.synthesis import grade, leaks, prompts

_SENTENCE_END = re.compile(r"[.!?…][\"”\u2019)\]]*(?=\s)|\n")


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
    first: int = 0,
    count: int | None = None,
) -> tuple[list[LongThought], list[Drop]]:
    """Let the reasoner continue one thought after one cue: `count` samples from `first` on, by default all.

    A sample whose calls fail is a drop; so is one of no use, beside the long thought that it is.

    Raises:
        ModelError: no reply came.
    """
    count = settings.samples if count is None else count
    words = prompts.fill(template(settings), caption=caption, question=question.prompt)
    _, _, prefill = opening(thought, cue, settings, seed)
    request = Request(
        stage="think_harder",
        record=thought.id,
        # The instructions, then the caption, then the question: what is shared by more comes earlier, so
        # that a server's prefix cache holds it; the thought and the cue follow in the turn that is continued.
        messages=(Message("user", words),),
        prefill=prefill or None,
        sampling=Sampling.of(settings, bad_words=settings.bad_words, stop=leaks.STOPS if settings.rewinds else ()),
        seed=seed_of(seed, thought.id, f"think_harder {cue}") + first,
        n=count,
        rank=rank,
        affinity=question.image,
    )
    reply = await model.ask(request)

    def lost(kind: str, index: int) -> Drop:
        return Drop.lost("think_harder", thought.id, thought.image, kind, cue, index=first + index)

    longs: list[LongThought] = []
    drops = [lost(reply.lost, i) for i in reply.missing(count)]
    for i, choice in reply.samples():
        again = replace(request, seed=seed_of(seed, thought.id, f"think_harder {cue} rewind {first + i}"), n=1)
        try:
            whole, cut = await rewound(model, again, choice, settings.rewinds)
        except ModelError as error:
            if error.fatal:
                raise
            drops.append(lost(error.kind, i))
        else:
            longs.append(read(whole, cut, thought, question, cue, first + i, settings, seed))
    return longs, drops + [drop for long in longs if (drop := useless(long))]


async def rewound(model: Model, request: Request, choice: Choice, times: int) -> tuple[Choice, tuple[str, ...]]:
    """Take a reply that betrays the caption back to its last clean sentence and go on from there.

    Where nothing clean precedes the betrayal, that is trying again from the cue. The server may have stopped at the
    betraying word by itself.

    Args:
        model: the reasoner.
        request: what the reply came to, but for the seed: that of the first call from here, then counted up.
        choice: the reply.
        times: how often at most.

    Returns:
        The reply as one, what was kept of earlier ones before it, and the keys of those that were cut.
    """
    text = choice.joined()
    cut: tuple[str, ...] = ()
    for turn in range(times):
        clean = before_betrayal(text, choice.finish_reason)
        if clean is None:
            break
        clean = spaced(clean) if request.prefill else clean
        prefill = f"{request.prefill or ''}{clean}".rstrip()
        reply = await model.ask(replace(request, prefill=prefill or None, seed=request.seed + turn))
        cut = (*cut, choice.key)
        (choice,) = reply.choices
        added = choice.joined()
        text = f"{clean}{spaced(added)}" if clean else added
    return (replace(choice, text=text, reasoning=None) if cut else choice), cut


def before_betrayal(text: str, finish_reason: str) -> str | None:
    """The whole sentences of a reply before it betrays the caption; None when it does not.

    A reply that ended by itself without having closed its thought was stopped at such a word.
    """
    added, rest = grade.split_thought(text, in_thought=True)
    at = leaks.betrayed_at(added)
    if at is None:
        if finish_reason != "stop" or rest or "<answer>" in text or "</think>" in text:
            return None
        at = len(added)
    ends = [match.end() for match in _SENTENCE_END.finditer(added, 0, at)]
    return added[: ends[-1]] if ends else ""


def read(
    choice: Choice,
    cut: tuple[str, ...],
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
        cut=cut,
        split=question.split,
    )


def continuation(text: str, *, after: str) -> str:
    """What a reply adds to the thought, up to where the thought is closed."""
    added = grade.split_thought(text, in_thought=True)[0].partition("<answer>")[0].rstrip()
    return spaced(added) if after else added.lstrip()


def spaced(added: str) -> str:
    """What a reply adds, with the white space at its beginning.

    Some servers strip it; between two words it is put back (Chinese and Japanese have none to put back).
    """
    return f" {added}" if added[:1].isalnum() and added[0] < "\u2e80" else added


def useless(long: LongThought) -> Drop | None:
    """Why a long thought cannot be used: no verdict, or nothing was added."""
    if long.verdict == "unparsed" and long.finish_reason != "length" and long.cut and "</think>" not in long.text:
        reason = "kept-leaking"  # stopped at a betraying word each time
    elif long.verdict == "unparsed":
        reason = "unfinished" if long.finish_reason == "length" else "unparsed"
    elif not long.continuation:
        reason = "nothing-added"
    else:
        return None
    return Drop.make("think_harder", long.id, long.image, reason)
