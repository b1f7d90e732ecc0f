import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.exports.safe import safe_text, safe_turn

MARKS = [
    "<image>",
    "<video>",
    "<audio>",
    "<|im_start|>",
    "<|im_end|>",
    "<|image_pad|>",
    "<|vision_start|>",
    "<|endoftext|>",
    "<\uff5cend▁of▁sentence\uff5c>",
    "</s>",
    "<end_of_turn>",
    "<start_of_image>",
    "[INST]",
    "[/INST]",
    "<</SYS>>",
    "<tool_call>",
    "{{idx}}",
]
shards = st.lists(
    st.one_of(
        st.sampled_from(MARKS),
        st.sampled_from(["<", ">", "|", "<|", "|>", "im_end", "image", "{{", "idx", "}}", "\n", " ", "[", "]"]),
        st.text(max_size=4),
    ),
    max_size=12,
).map("".join)


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_gets_one_space_and_nothing_else_changes(mark):
    assert safe_text(f"It says {mark} on it.") == f"It says {mark[0]} {mark[1:]} on it."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<think> a </think> <answer> (B) </answer>",
        "x < 3 | y > 4, a <b> c, array[i], {{index}}",
        "An <img alt='x'> tag, <imagery>, <images>",
        "“Wait,” 等等, 🟥\u2028 end\n",
    ],
)
def test_ordinary_text_stays_as_it_is(text):
    assert safe_text(text) == text


@given(shards, shards)
def test_no_mark_is_left_in_either_part_or_where_they_meet(prefix, rest):
    safe_prefix, safe_rest = safe_turn(prefix, rest)
    whole = safe_prefix + safe_rest
    assert not any(mark in whole for mark in MARKS)
    assert not re.search(r"<\|[^<>|\s]{1,64}\|>", whole)


@given(shards, shards)
def test_only_spaces_are_added(prefix, rest):
    safe_prefix, safe_rest = safe_turn(prefix, rest)
    assert safe_prefix.replace(" ", "") == prefix.replace(" ", "")
    assert safe_rest.replace(" ", "") == rest.replace(" ", "")
    assert safe_text(safe_prefix + safe_rest) == safe_prefix + safe_rest


@given(shards, shards)
def test_a_prefix_gains_no_white_space_at_its_end(prefix, rest):
    safe_prefix, _ = safe_turn(prefix, rest)
    assert safe_prefix[-1:].isspace() == prefix[-1:].isspace()


def test_a_mark_cut_in_two_is_found():
    assert safe_turn("a <im", "age> b") == ("a < im", "age> b")
    assert safe_turn("a <", "image> b") == ("a <", " image> b")
