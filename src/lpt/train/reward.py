"""The grader as a reward: for TRL's GRPO, and as a function for whoever computes rewards. No torch.

For verl, `lpt export RUN --to verl` writes a file of its own beside the set, which grades the same way.
"""

from collections.abc import Sequence
from typing import Any

from lpt.records import ANSWER_FORMATS, AnswerFormat
from lpt.synthesis.grade import grade

LETTERS = "ABCDEFGHIJ"


def reward(reply: str, options: Sequence[str], answer: str, answer_format: AnswerFormat) -> float:
    """1 for the right option; 0 for a wrong one, and for a reply that names none or several.

    A reply that cannot be read is no wrong answer, but to a policy it must not be worth more than one.

    Args:
        reply: what the model said, its thought included.
        options: texts, in the order shown.
        answer: the right one's letter.
        answer_format: the form that was asked for.
    """
    letters = dict(zip(LETTERS, options, strict=False))
    return 1.0 if grade(reply, letters, answer=answer, format=answer_format).correct else 0.0


def answered_right(
    completions: Sequence[str | Sequence[dict[str, Any]]],
    options: Sequence[Sequence[str]],
    answer: Sequence[str],
    answer_format: Sequence[AnswerFormat] | None = None,
    **_: Any,
) -> list[float]:
    """A reward function as TRL's `GRPOTrainer(reward_funcs=...)` calls it: one reward a completion.

    Args:
        completions: texts, or conversations whose last message is the reply.
        options: the data set's column of that name: the options of each question, in the order shown.
        answer: its column of letters.
        answer_format: its column of forms asked for; without one, "(X)".
    """
    formats = answer_format or [ANSWER_FORMATS[0]] * len(completions)
    return [
        reward(_text(completion), shown, letter, form)
        for completion, shown, letter, form in zip(completions, options, answer, formats, strict=True)
    ]


def _text(completion: str | Sequence[dict[str, Any]]) -> str:
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)
