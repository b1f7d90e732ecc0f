"""Templates: what they make of a conversation, and what no template may do to an assistant's words."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.chat import BUILT_IN, Span, Template
from lpt.errors import UserError
from lpt.models.base import Image, Message

PICTURE = Image(key="k", data=b"x")
R1_BEGIN, R1_END = "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>"
R1_USER, R1_ASSISTANT = "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>"

# As hosts ship them, in small: R1's strips the thought of every turn, Llama 3's trims, LLaVA's wants parts only.
STRIPPING = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[U]{{ m['content'] }}{% else %}"
    "{% set content = m['content'] %}"
    "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
    "[A]{{ content }}{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}[A]<think>\n{% endif %}"
)
TRIMMING = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
PARTS = (
    "{% for m in messages %}{{ m.role | upper }}: "
    "{% for c in m.content if c.type == 'image' %}<image>\n{% endfor %}"
    "{% for c in m.content if c.type == 'text' %}{% generation %}{{ c.text }}{% endgeneration %}{% endfor %} ##"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT: {% endif %}"
)


def template(source: str) -> Template:
    return Template(source, "mine", {"bos_token": "<s>", "eos_token": "</s>"})


def user(text: str, *images: Image) -> Message:
    return Message("user", text, images)


# The built-in ones.


def test_chatml_marks_images_and_adds_no_system_message():
    text = Template.load("chatml").render([Message("system", "S"), user("hi", PICTURE, PICTURE)]).text
    mark = "<|vision_start|><|image_pad|><|vision_end|>"
    assert text == (
        f"<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n{mark}{mark}hi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert Template.load("chatml").render([user("hi")]).text.startswith("<|im_start|>user\nhi")


def test_r1_opens_the_thought_and_keeps_of_earlier_turns_the_answer():
    turns = [Message("system", "S"), user("a"), Message("assistant", "<think>\nx\n</think>\nb"), user("c")]
    assert Template.load("deepseek-r1").render(turns).text == (
        f"{R1_BEGIN}S{R1_USER}a{R1_ASSISTANT}\nb{R1_END}{R1_USER}c{R1_ASSISTANT}<think>\n"
    )


def test_r1_has_no_place_for_an_image():
    with pytest.raises(UserError, match="no place for an image"):
        Template.load("deepseek-r1").render([user("hi", PICTURE)])


# An open turn.


@pytest.mark.parametrize("source", [STRIPPING, TRIMMING, PARTS])
def test_a_prefill_is_kept_to_the_letter_whatever_the_template_does(source):
    for prefill in ("  a thought </think> b ", "<think>\nWait,", "{{ 1 }}", ""):
        assert template(source).render([user("q")], prefill=prefill).text.endswith(prefill)


@pytest.mark.parametrize("begun", ["<think>\nHm. Wait,", "<think> Hm", "<think>"])
def test_an_opened_thought_is_not_opened_twice(begun):
    assert template(STRIPPING).render([user("q")], prefill=begun).text == f"<s>[U]q[A]{begun}"
    assert template(STRIPPING).render([user("q")], prefill="Hm").text == "<s>[U]q[A]<think>\nHm"


def test_a_template_for_parts_gets_parts():
    assert template(PARTS).render([user("q")]).text == "USER: q ##ASSISTANT: "
    assert template(PARTS).render([user("q", PICTURE)]).text == "USER: <image>\nq ##ASSISTANT: "


def test_a_template_for_strings_gets_strings_and_no_image():
    assert template(TRIMMING).render([user("q")]).text == "<user>q</s><assistant>"
    with pytest.raises(UserError, match="no place for an image"):
        template(TRIMMING).render([user("q", PICTURE)])


def test_a_mark_that_would_stand_behind_the_text_is_none():
    behind = PARTS.replace("c.type == 'image'", "c.type == 'x'").replace(
        " ##", "{{ '<image>' * (m.content|length) }}"
    )
    with pytest.raises(UserError, match="no place for an image"):
        template(behind).render([user("q", PICTURE)])


# What is given and what is learnt.


@pytest.mark.parametrize("name", BUILT_IN)
@given(
    system=st.none() | st.text(),
    prompt=st.text(),
    prefix=st.sampled_from(["", "<think>", "<think>\n", "<think> a ", " "]) | st.text(),
    target=st.sampled_from(["</think> b", "<think>\nc</think>(A)", " \n"]) | st.text(),
)
def test_given_and_learnt_are_the_closed_conversation(name, system, prompt, prefix, target):
    made = Template.load(name)
    turns = [*([Message("system", system)] if system is not None else []), user(prompt)]
    given_, learnt = made.split(turns, prefix, target)
    closed = made._render([*turns, Message("assistant", prefix + target)], generate=False)
    assert given_ + learnt == closed
    assert given_.endswith(prefix)
    assert learnt.startswith(target)
    assert learnt == target + made.ending(turns)


@pytest.mark.parametrize("name", BUILT_IN)
@given(
    turns=st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), st.text()), min_size=1),
    prefill=st.text(),
)
def test_spans_cover_the_text_without_gaps(name, turns, prefill):
    made = Template.load(name)
    for rendered, learnt in ((made.render(turns, prefill=prefill), False), (made.whole(turns, prefill, "t"), True)):
        at = 0
        for span in rendered.spans:
            assert span.start == at < span.end
            at = span.end
        assert at == len(rendered.text)
        last = rendered.spans[-1]
        assert (last.role, last.learnt) == ("assistant", learnt)
        assert [span.learnt for span in rendered.spans[:-1]] == [False] * (len(rendered.spans) - 1)


def test_spans_say_whose_words_they_are():
    whole = Template.load("chatml").whole([Message("system", "S"), user("hi")], "<think> a", " b</think> c")
    assert [(span.role, span.learnt, whole.text[span.start : span.end]) for span in whole.spans] == [
        ("system", False, "<|im_start|>system\nS<|im_end|>\n"),
        ("user", False, "<|im_start|>user\nhi<|im_end|>\n"),
        ("assistant", False, "<|im_start|>assistant\n<think> a"),
        ("assistant", True, " b</think> c<|im_end|>\n"),
    ]


def test_a_turn_that_is_rendered_otherwise_later_has_no_span_of_its_own():
    made = Template.load("deepseek-r1")
    turns = [user("a"), Message("assistant", "x</think>b"), user("c")]
    rendered = made.render(turns, prefill="d")
    end = rendered.text.rindex("c") + 1
    assert rendered.spans[1:] == (
        Span(rendered.spans[0].end, end, "user", learnt=False),
        Span(end, len(rendered.text), "assistant", learnt=False),
    )


def test_a_template_that_changes_the_words_is_refused_for_training():
    with pytest.raises(UserError, match=r"changes an assistant's words.*chatml"):
        template(STRIPPING).split([user("q")], "<think> a", "</think> b")
    with pytest.raises(UserError, match="changes an assistant's words"):
        template(TRIMMING).split([user("q")], "", "b\n")
    assert template(TRIMMING).split([user("q")], "", "b") == ("<user>q</s><assistant>", "b</s>")
    assert template(STRIPPING).split([user("q")], "", "(A)") == ("<s>[U]q[A]", "(A)</s>")


def test_a_template_that_begins_a_turn_in_two_ways_is_refused_for_training():
    two = "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}"
    two += "{% if add_generation_prompt %}[A]{% endif %}"
    with pytest.raises(UserError, match="in one way when it is generated"):
        template(two).split([user("q")], "", "b")
    with pytest.raises(UserError, match="does not keep"):
        template("{{ messages[0].content }}").split([user("q")], "", "b")


# Where templates come from.


def folder(path: Path, **files: object) -> Path:
    path.mkdir()
    for name, content in files.items():
        file = path / name.replace("__", ".")
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_tokenizer_folder_is_read_as_its_library_reads_it(tmp_path):
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "{{ bos_token }}named"}]
    config = {"chat_template": named, "bos_token": {"content": "<b>"}}
    one = folder(tmp_path / "one", tokenizer_config__json=config)
    assert Template.load(str(one)).render([user("q")]).text == "<b>named"
    two = folder(tmp_path / "two", tokenizer_config__json=config, chat_template__json={"chat_template": "json"})
    assert Template.load(str(two)).render([user("q")]).text == "json"
    three = folder(tmp_path / "three", tokenizer_config__json=config, chat_template__jinja="file{{ eos_token }}")
    (three / "special_tokens_map.json").write_text('{"eos_token": "<e>"}')
    assert Template.load(str(three)).render([user("q")]).text == "file<e>"
    four = folder(tmp_path / "four", tokenizer_config__json={"chat_template": "plain"})
    assert Template.load("four", base=tmp_path).render([user("q")]).text == "plain"
    assert Template.load(str(four)).bos == ""


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no chat template"),
        ({"tokenizer_config__json": "{"}, "cannot be read"),
        ({"tokenizer_config__json": "[]"}, "cannot be read"),
        ({"chat_template__jinja": "{% for %}"}, "not valid Jinja"),
    ],
)
def test_a_folder_that_cannot_be_used_says_why(tmp_path, files, words):
    with pytest.raises(UserError, match=words):
        Template.load(str(folder(tmp_path / "x", **files)))


def test_a_name_that_is_none_names_those_that_are():
    with pytest.raises(UserError, match="chatml, deepseek-r1"):
        Template.load("chatlm")


def test_a_jinja_file_is_a_template(tmp_path):
    (tmp_path / "mine.jinja").write_text("{%- for m in messages -%}\n  {{ m | tojson }}\n{%- endfor %}")
    made = Template.load("mine.jinja", base=tmp_path)
    assert made.render([user("ü<&>")]).text == '{"role": "user", "content": "ü<&>"}'


# Templates are strangers' programs.


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception('no') }}",
        "{{ 1 // 0 }}",
        "{{ messages[0].content + 1 }}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_what_a_template_may_not_do_is_an_error_of_the_users(source):
    made = Template(source, "mine")
    with pytest.raises(UserError, match="the chat template mine refuses this conversation"):
        made.render([user("q")])


def test_the_tools_that_templates_expect_are_there():
    source = (
        "{{ strftime_now('%Y') }}{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}x{% endfor %}"
    )
    assert Template(source, "mine").render([user("q"), user("r")]).text[4:] == "x"
