"""Stage 2: what the student said, and whether it was right; its words are kept as they came."""

from typing import Any

import pytest

from lpt.models.base import Choice, Request
from lpt.records import Drop, Question, Thought
from lpt.settings import ThinkSettings
from lpt.synthesis.think import system, think
from tests.scripted import IMAGE, Scripted, question


async def thought_of(
    says: Any, *, of: Question | None = None, **settings: Any
) -> tuple[list[Thought], list[Drop], Request]:
    model = Scripted(says)
    given = ThinkSettings(model="student", **{"samples": 1, **settings})
    thoughts, drops = await think(model, of or question(), IMAGE, given, seed=0, rank=3)
    (request,) = model.requests
    return thoughts, drops, request


async def test_the_student_sees_the_image_and_the_question_as_it_is_shown() -> None:
    _, _, request = await thought_of("<answer>(B)</answer>", of=question(system="Think."), samples=3)
    system_turn, user = request.messages
    assert (system_turn.role, system_turn.text, system_turn.images) == ("system", "Think.", ())
    assert (user.role, user.text, user.images) == ("user", question().prompt, (IMAGE,))
    assert (request.n, request.rank, request.affinity, request.record) == (3, 3, question().image, question().id)
    assert (request.sampling.top_p, request.sampling.repetition_penalty, request.sampling.top_k) == (
        0.8,
        1.05,
        None,
    )
    assert request.prefill is None
    assert request.schema is None


async def test_without_a_system_prompt_there_is_no_system_turn() -> None:
    _, _, request = await thought_of("x")
    assert [message.role for message in request.messages] == ["user"]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("<think> A BLUE car. </think> <answer>(B)</answer>", ("A BLUE car.", "(B)", "B", "correct", True, None)),
        ("<think>Red.</think><answer>(A)</answer>", ("Red.", "(A)", "A", "wrong", True, None)),
        ("<think>Red.</think><answer>B.</answer>", ("Red.", "B.", "B", "correct", False, None)),
        ("<think>Red.</think>", ("Red.", None, None, "unparsed", False, "unparsed")),
        ("<think>Red.</think><answer>pink</answer>", ("Red.", "pink", None, "unparsed", False, "unparsed")),
        ("<think> </think><answer>(B)</answer>", ("", "(B)", "B", "correct", True, "no-thought")),
        ("<answer>(A)</answer>", ("", "(A)", "A", "wrong", True, "no-thought")),
        ("", ("", None, None, "unparsed", False, "unparsed")),
    ],
)
async def test_a_reply_is_read_as_thought_answer_and_verdict(reply: str, expected: tuple[Any, ...]) -> None:
    (thought,), drops, _ = await thought_of(reply)
    reason = drops[0].reason if drops else None
    got = (thought.thought, thought.answer, thought.letter, thought.verdict, thought.format_ok, reason)
    assert got == expected
    assert thought.text == reply
    assert [drop.record for drop in drops] == [thought.id] * len(drops)


async def test_a_reply_that_was_cut_is_unfinished_and_never_wrong() -> None:
    (thought,), (drop,), _ = await thought_of(
        lambda _r, _i: Choice(text="<think>The answer is (A), or", finish_reason="length")
    )
    assert (thought.verdict, drop.reason, drop.stage) == ("unparsed", "unfinished", "think")
    (late,), drops, _ = await thought_of(
        lambda _r, _i: Choice(text="<think>Blue.</think><answer>(B)</answer>", finish_reason="length")
    )
    assert (late.verdict, drops) == ("correct", []), "cut where nothing was missing"


@pytest.mark.parametrize("prefill", ["<think>", "<think>\n", "<think>\n  "])
async def test_a_start_that_is_given_never_ends_in_white_space_and_is_part_of_the_text(prefill: str) -> None:
    (thought,), drops, request = await thought_of("It is BLUE.</think><answer>(B)</answer>", prefill=prefill)
    assert request.prefill == "<think>"
    assert thought.text == "<think>It is BLUE.</think><answer>(B)</answer>"
    assert (thought.thought, thought.verdict, thought.format_ok) == ("It is BLUE.", "correct", True)
    assert drops == []


async def test_a_thought_that_was_opened_for_the_student_and_not_closed_is_a_thought() -> None:
    (thought,), _, _ = await thought_of("It is (B), no doubt", prefill="<think>")
    assert (thought.thought, thought.verdict) == ("It is (B), no doubt", "unparsed")


async def test_reasoning_that_is_reported_apart_is_the_thought() -> None:
    (thought,), drops, _ = await thought_of(
        lambda _r, _i: Choice(text="<answer>(B)</answer>", reasoning=" I see Blue.\n")
    )
    assert (thought.thought, thought.verdict) == ("I see Blue.", "correct")
    assert drops == []


async def test_samples_are_told_apart_even_when_they_say_the_same() -> None:
    thoughts, _, _ = await thought_of("<think>Red.</think><answer>(A)</answer>", samples=4)
    assert [thought.index for thought in thoughts] == [0, 1, 2, 3]
    assert len({thought.id for thought in thoughts}) == 4
    again, _, _ = await thought_of("<think>Red.</think><answer>(A)</answer>", samples=4)
    assert again == thoughts


async def test_every_reply_is_kept_and_what_is_of_no_use_is_a_drop_as_well() -> None:
    replies = ["<think>a</think><answer>(B)</answer>", "?", "<answer>(B)</answer>"]
    thoughts, drops, _ = await thought_of(lambda _r, i: replies[i], samples=3)
    assert len(thoughts) == 3
    assert {drop.record: drop.reason for drop in drops} == {
        thoughts[1].id: "unparsed",
        thoughts[2].id: "no-thought",
    }


async def test_the_seed_is_the_questions_own() -> None:
    seeds = {(await thought_of("x", of=question(id=name)))[2].seed for name in ("a", "b", "c")}
    assert len(seeds) == 3
    assert (await thought_of("x"))[2].seed == (await thought_of("x", samples=5))[2].seed


def test_our_own_system_prompt_asks_for_the_tags() -> None:
    words = system(ThinkSettings(model="m"))
    assert all(tag in words for tag in ("<think>", "</think>", "<answer>", "</answer>"))
