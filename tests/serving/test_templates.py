import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.serving.protocol import Turn
from lpt.serving.templates import split

USER, ASSISTANT = "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>"
BEGIN, END = "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>"


def chatml(turns, prefill):
    closed = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns)
    return closed + "<|im_start|>assistant\n" + prefill


def r1(turns, prefill):
    marks = {"user": USER, "assistant": ASSISTANT, "system": ""}
    closed = "".join(marks[r] + text + (END if r == "assistant" else "") for r, text in turns)
    return BEGIN + closed + ASSISTANT + prefill


words = st.text("ab \n?<>|", max_size=12)
talks = st.tuples(
    st.lists(st.tuples(words, words), max_size=2),
    words.filter(bool),
    words,
).map(lambda t: ([x for u, a in t[0] for x in (("user", u), ("assistant", a))] + [("user", t[1])], t[2]))


@pytest.mark.parametrize("render", [chatml, r1])
@given(talk=talks, system=st.none() | words.filter(bool))
def test_a_rendered_chat_splits_into_its_turns(render, talk, system):
    turns, prefill = talk
    turns = [("system", system), *turns] if system is not None else turns
    assert split(render(turns, prefill)) == (tuple(Turn(*t) for t in turns), prefill or None)


def test_a_text_without_template_is_one_user_turn():
    assert split("Once upon") == ((Turn("user", "Once upon"),), None)


def test_a_closed_assistant_turn_is_not_continued():
    prompt = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n"
    assert split(prompt) == ((Turn("user", "q"), Turn("assistant", "a")), None)
    assert split(f"{USER}q{ASSISTANT}a{END}") == ((Turn("user", "q"), Turn("assistant", "a")), None)


def test_the_thinking_mark_of_a_generation_prompt_is_part_of_what_is_continued():
    assert split(f"{BEGIN}{USER}q{ASSISTANT}<think>\n") == ((Turn("user", "q"),), "<think>\n")
