# ruff: noqa: RUF001 - confusable characters are the subject
"""The grader names an option only when the reply does, and never guesses."""

import json
import string
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lpt.cli.grade import grade as grade_verb
from lpt.errors import UserError
from lpt.synthesis.grade import FORMATS, Grade, answer_text, grade, split_thought

COLOURS = {"A": "red", "B": "blue", "C": "green", "D": "yellow"}
TEN = dict(
    zip(
        "ABCDEFGHIJ",
        ["one large cup", "two", "three", "four", "five", "six", "a seal", "12", "nine.", "On the left"],
        strict=True,
    )
)

CASES = [
    json.loads(line) for line in (Path(__file__).parent / "grader_cases.jsonl").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize(
    "case", CASES, ids=[f"line {n}: {case['output'][:40]!a}" for n, case in enumerate(CASES, 1)]
)
def test_every_line_of_the_corpus(case):
    graded = grade(case["output"], case["options"], format=case.get("format"))
    wanted = {name: case[name] for name in ("letter", "method", "format_ok") if name in case}
    assert {name: getattr(graded, name) for name in wanted} == wanted


def test_the_corpus_holds_hundreds_of_both_kinds():
    assert sum(case["letter"] is None for case in CASES) > 150
    assert sum(case["letter"] is not None for case in CASES) > 300


# ------------------------------------------------------------ outcomes


def test_verdicts():
    assert grade("B", COLOURS, answer="B").verdict == "correct"
    assert grade("B", COLOURS, answer="A").verdict == "wrong"
    assert grade("B or C", COLOURS, answer="B").verdict == "unparsed"
    assert grade("no idea", COLOURS).verdict == "unparsed"


def test_an_unparsed_reply_is_never_a_wrong_one():
    assert grade("B or C", COLOURS, answer="A") == Grade(letter=None, method=None, format_ok=False, correct=None)


def test_another_options_text_is_wrong_and_not_right():
    """The published script counts the text of any option as correct."""
    assert grade("<answer>green</answer>", COLOURS, answer="B").correct is False
    assert grade("<answer>blue</answer>", COLOURS, answer="B").correct is True


def test_no_verdict_without_a_right_answer():
    with pytest.raises(ValueError, match="without the right answer"):
        _ = grade("B", COLOURS).verdict


def test_a_right_answer_that_is_no_option_is_refused():
    with pytest.raises(ValueError, match=r"'E'.*not among the options A, B, C, D"):
        grade("B", COLOURS, answer="E")


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match=r"'x'.*\(X\), X\., text"):
        grade("B", COLOURS, format="x")


# ------------------------------------------------------------ thoughts and tags


@pytest.mark.parametrize(
    ("output", "thought", "rest"),
    [
        ("<think> a </think> b", " a ", " b"),
        ("a </think> b", "a ", " b"),
        ("<think>a", "a", ""),
        ("plain", "", "plain"),
        ("", "", ""),
        ("<think>a</think>b<think>c</think>d", "a\nc", "bd"),
        ("<think>a<think>b</think>c", "ab", "c"),
        ("<think>a</think>b</think>c", "a", "bc"),
        ("Well. <think>a</think>b", "a", "Well. b"),
        ("<think>a</think>b<think>c", "a\nc", "b"),
        ("<Think>a</THINK >b", "a", "b"),
    ],
)
def test_split_thought(output, thought, rest):
    assert split_thought(output) == (thought, rest)


def test_a_prefilled_thought_that_was_cut_off_is_no_answer():
    cut = "It has two arms. So the answer is B."
    assert grade(cut, COLOURS).letter == "B"
    assert grade(cut, COLOURS, in_thought=True).letter is None
    assert split_thought(cut, in_thought=True) == (cut, "")
    assert grade(cut + "</think> C", COLOURS, in_thought=True).letter == "C"
    assert grade(cut + " <answer>C</answer>", COLOURS, in_thought=True) == Grade("C", "tag-letter", False, None)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("<answer> (B)\n</answer>", " (B)\n"),
        ("<answer>A</answer> or <answer>b", "b"),
        ("<answer>B</answ", "B"),
        ("<answer>**B** </answer", "**B** "),
        ("<think><answer>A</answer></think> B", None),
        ("B", None),
        ("<answer>", ""),
    ],
)
def test_answer_text_is_raw(output, text):
    assert answer_text(output) == text


# ------------------------------------------------------------ properties

any_text = st.text(max_size=200) | st.lists(
    st.sampled_from(
        [
            *("<answer>", "</answer>", "<think>", "</think>", "</answer", "</an", "answer", "is", "the", "correct"),
            *(
                "not",
                "B",
                "A",
                "(B)",
                "blue",
                "red",
                "or",
                "and",
                ",",
                ".",
                ":",
                "\n",
                "?",
                "*",
                "**",
                "\\boxed{",
                "}",
            ),
            *("$", "wait", "no", "答案是", "选", "不", "option", "Option", "I", "if", "\u200b", "\u202e", "\u0301"),
            *("\ud800", "İ", "ı", "９", "（", "）"),
        ]
    ),
    max_size=40,
).map(" ".join)
letters = st.sampled_from(sorted(TEN))
shapes = st.sampled_from(
    [
        "{}",
        "({})",
        "{}.",
        "{})",
        "**{}**",
        "[{}]",
        "Option {}",
        "Answer: {}",
        "The answer is ({}).",
        "\\boxed{{{}}}",
    ]
)
thoughts = st.text(max_size=80).filter(lambda text: "<" not in text and "◁" not in text and "＜" not in text)


@given(any_text, st.dictionaries(st.text(max_size=2), st.text(max_size=8), max_size=5) | st.just(COLOURS))
@settings(max_examples=600)
def test_anything_is_graded_and_the_letter_is_an_option(output, options):
    for reply in (output, f"<answer>{output}</answer>", f"<think>{output}"):
        graded = grade(reply, options)
        assert graded.letter is None or graded.letter in options
        assert (graded.letter is None) == (graded.method is None)
        assert split_thought(reply)[1] in reply or "think" in reply.casefold() or "◁" in reply
        assert answer_text(reply) is None or answer_text(reply) in reply


@given(st.sampled_from([case for case in CASES if "think" not in case["output"].casefold()]), thoughts)
@settings(max_examples=400)
def test_a_thought_before_changes_nothing(case, thought):
    alone = grade(case["output"], case["options"])
    assert grade(f"<think>{thought}</think>{case['output']}", case["options"]) == alone
    assert grade(f"{thought}</think>\n\n{case['output']}", case["options"]) == alone


@given(
    st.permutations(sorted(COLOURS)),
    st.sampled_from(sorted(COLOURS.values())),
    st.sampled_from(["{}", "<answer>{}</answer>", "The answer is {}."]),
)
def test_an_answer_by_text_follows_its_option(order, text, shape):
    options = dict(zip(order, COLOURS.values(), strict=True))
    letter = grade(shape.format(text), options).letter
    assert letter is not None
    assert options[letter] == text
    assert list(options) == order


@given(letters, shapes, st.booleans(), st.booleans())
def test_a_label_in_any_shape_and_dress(letter, shape, tag, lower):
    reply = shape.format(letter.lower() if lower else letter)
    reply = f"<answer>{reply}</answer>" if tag else reply
    assert grade(reply, TEN).letter == letter


@given(letters, st.sampled_from(FORMATS), st.booleans())
def test_each_canonical_format_is_read_and_approved(letter, asked, thought):
    content = {"(X)": f"({letter})", "X.": f"{letter}.", "text": TEN[letter]}[asked]
    reply = f"{'<think>Hm.</think> ' * thought}<answer>{content}</answer>"
    assert grade(reply, TEN, answer=letter, format=asked).correct is True
    assert grade(reply, TEN, format=asked).format_ok
    assert grade(reply, TEN).format_ok
    assert not any(grade(reply, TEN, format=other).format_ok for other in FORMATS if other != asked)


def full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


VARIANTS: dict[str, Callable[[str], str]] = {
    "upper": str.upper,
    "lower": str.lower,
    "title": str.title,
    "full width": full_width,
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "spaces": lambda text: "  " + text.replace(" ", " \u00a0\t ") + "\n",
    "zero width": lambda text: "\u200b".join(text) + "\ufeff",
    "right to left": lambda text: "\u200f" + text + "\u200f",
    "bold": lambda text: f"**{text}**",
    "italic": lambda text: f"_{text}_",
    "code": lambda text: f"`{text}`",
    "fence": lambda text: f"```\n{text}\n```",
    "heading": lambda text: text if text[0].isdigit() else f"### {text}",
    "quotes": lambda text: f"“{text}”",
    "bold quotes": lambda text: f'**"{text}"**',
    "full stop": lambda text: text if text.endswith(".") else f"{text}.",
    "latex": lambda text: f"$\\text{{{text}}}$",
    "box": lambda text: f"\\boxed{{{text}}}",
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("letter", sorted(TEN))
def test_variants_are_the_same_answer(name, letter):
    change = VARIANTS[name]
    for content in (TEN[letter], f"({letter})", f"{letter}. {TEN[letter]}"):
        assert grade(f"<answer>{change(content)}</answer>", TEN).letter == letter, content
        assert grade(change(content), TEN).letter == letter, content


@given(
    letters, letters, st.sampled_from(["{} or {}", "{}, {}", "{} and {}", "{}/{}", "{}{}", "({}) ({})", "{}、{}"])
)
def test_two_letters_are_none(one, other, shape):
    reply = shape.format(one, other)
    if one != other:
        assert grade(reply, TEN).letter is None
        assert grade(f"<answer>{reply}</answer>", TEN).letter is None
        assert grade(f"The answer is {reply}.", TEN).letter is None


@given(
    letters,
    letters,
    st.sampled_from(["({}) {}", "{}. {}", "{}: {}", "{}) {}", "Answer: {}. {}", "The answer is ({}) {}."]),
)
def test_a_letter_beside_a_text_must_agree_with_it(letter, other, shape):
    assert grade(shape.format(letter, TEN[other]), TEN).letter == (letter if letter == other else None)


@given(
    letters,
    st.sampled_from(
        ["The answer is not {}.", "{} is wrong.", "I would not pick {}.", "答案不是{}。", "not {}.", "It isn't {}."]
    ),
)
def test_a_negation_names_nothing_and_takes_back(letter, shape):
    denied = shape.format(letter)
    assert grade(denied, TEN).letter is None
    if letter != "C":
        assert grade(f"{denied} The answer is C.", TEN).letter == "C"


@given(letters, st.text(string.ascii_letters + " '", min_size=1, max_size=12))
def test_a_longer_text_is_not_the_option(letter, more):
    text = TEN[letter].rstrip(".") + " " + more.strip()
    if more.strip() and text.casefold() not in TEN.values():
        assert grade(f"<answer>{text}</answer>", TEN).letter is None


BITS = [
    *(
        "<answer>",
        "</answer>",
        "<answer>B</answer>",
        "<think>",
        "</think>",
        "<answer",
        "<",
        "< ",
        "\\boxed{",
        "\\text{",
    ),
    *("{", "}", "(", "(B)", "the answer is ", "The answer is B. ", "the answer is not B ", "answer:", "answer\n"),
    *(
        "correct ",
        "so ",
        "B is correct. ",
        "B is ",
        "B, ",
        "A",
        " ",
        "\n",
        " \n",
        "*",
        "**",
        "_",
        "`",
        "```",
        '"',
        "'",
    ),
    *(
        "$",
        ".",
        ",",
        "wait, ",
        "no, ",
        "I think ",
        "选",
        "答案是",
        "不",
        "A. red\n",
        "blue ",
        "\u200b",
        "\u0301\u0316",
    ),
    *("\ufdfa", "if ", "that ", "- ", "final answer ", "\t", "1", "é", "😀"),
]


@pytest.mark.parametrize("bit", BITS)
def test_a_megabyte_of_anything_is_graded(bit):
    """Linear, or the suite would time out: the quadratic ones took minutes."""
    load = bit * (1_000_000 // len(bit))
    for reply in (
        load,
        f"<answer>{load}</answer>",
        f"<think>{load}</think><answer>B</answer>",
        f"<answer>B {load}",
    ):
        grade(reply, COLOURS)
    assert grade(f"<think>{load.replace('<', '')}</think><answer>B</answer>", COLOURS).letter == "B"


@given(st.lists(st.sampled_from(BITS), min_size=1, max_size=4).map("".join))
@settings(max_examples=40, deadline=None)
def test_large_mixtures_are_graded(bit):
    grade(bit * (200_000 // len(bit)), COLOURS)


# ------------------------------------------------------------ the command

app = typer.Typer()
app.command()(grade_verb)
app.command("other")(lambda: None)


def rows(*lines: dict[str, object]) -> bytes:
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def test_the_command_prints_one_line_for_each(tmp_path):
    file = tmp_path / "replies.jsonl"
    file.write_bytes(
        rows(
            {"output": "<answer>(B)</answer>", "options": COLOURS, "answer": "B", "format": "(X)", "id": 7},
            {"output": "A or B", "options": COLOURS, "answer": "A"},
            {"output": "red", "options": COLOURS},
            {"output": "red", "options": COLOURS, "answer": "C"},
        )
        + b"\n"
    )
    result = CliRunner().invoke(app, ["grade", str(file)])
    assert result.exit_code == 0
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"letter": "B", "method": "tag-letter", "format_ok": True, "correct": True},
        {"letter": None, "method": None, "format_ok": False, "correct": None},
        {"letter": "A", "method": "text", "format_ok": False, "correct": None},
        {"letter": "A", "method": "text", "format_ok": False, "correct": False},
    ]


def test_a_list_of_options_goes_by_letters_as_it_stands():
    lines = rows(
        {"output": "(B)", "options": ["red", "blue"], "answer": "B"}, {"output": "red", "options": ["red"]}
    )
    result = CliRunner().invoke(app, ["grade", "-"], input=lines)
    graded = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(grade["letter"], grade["correct"]) for grade in graded] == [("B", True), ("A", None)]


def test_the_command_reads_standard_input():
    result = CliRunner().invoke(
        app, ["grade", "-"], input=b"\xef\xbb\xbf" + rows({"output": "B", "options": COLOURS})
    )
    assert json.loads(result.stdout)["letter"] == "B"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"not json", "malformed"),
        (b'{"output": "B"}', "options"),
        (b'{"options": {"A": "x"}}', "output"),
        (b'{"output": 3, "options": {}}', r"\$\.output"),
        (b'{"output": "B", "options": "red"}', r"\$\.options"),
        (b'{"output": "B", "options": ["red", 1]}', r"\$\.options"),
        (b'{"output": "B", "options": [' + b", ".join([b'"x"'] * 11) + b"]}", "from A to J; this one has 11"),
        (b'{"output": "B", "options": {"A": 1}}', r"\$\.options"),
        (b'{"output": "B", "options": {"A": "x"}, "answer": "Q"}', "'Q'"),
        (b'{"output": "B", "options": {"A": "x"}, "format": "x"}', "format"),
        (b'{"output": "\xff", "options": {"A": "x"}}', "utf-8"),
        (b"[]", "object"),
    ],
)
def test_a_bad_line_is_named(tmp_path, capsys, line, says):
    file = tmp_path / "replies.jsonl"
    file.write_bytes(rows({"output": "B", "options": COLOURS}) + b"\n" + line + b"\n")
    with pytest.raises(UserError, match=rf"line 3: .*{says}") as caught:
        grade_verb(str(file))
    assert caught.value.exit_code == 2
    assert json.loads(capsys.readouterr().out)["letter"] == "B"  # what came before it was graded


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.jsonl: No such file"):
        grade_verb(str(tmp_path / "none.jsonl"))


def test_lines_are_graded_as_they_come(capsys, monkeypatch):
    """The third line is never asked for before the second is printed."""

    def slow() -> Iterator[bytes]:
        yield rows({"output": "B", "options": COLOURS})
        assert capsys.readouterr().out.count("\n") == 1
        yield rows({"output": "C", "options": COLOURS})

    monkeypatch.setattr(typer, "get_binary_stream", lambda _: slow())
    grade_verb("-")
    assert json.loads(capsys.readouterr().out)["letter"] == "C"


# ------------------------------------------------------------ the real thing

SAMPLE = Path(__file__).parents[3] / "shared" / "published_sample"


@pytest.mark.skipif(not SAMPLE.exists(), reason="the authors' published sample is not on this machine")
def test_the_published_sample():
    """240 simple thoughts all have an answer; of 720 continuations, 34 were cut off before they gave one."""
    student = SAMPLE / "stage_2_simple_cot/intermediate_df/qwen2.5_vl_instruct/0_1000.jsonl"
    reasoner = SAMPLE / "stage_3_expand_cot/intermediate_df/qwen2.5_vl_instruct/r1_distilled_32b/Wait,_0_500.jsonl"
    for file, total, unparsed in ((student, 240, 0), (reasoner, 720, 34)):
        found = []
        for line in file.read_text("utf-8").splitlines():
            row = json.loads(line)
            listed = row["prompt"].split("following choices.\n")[1].split("<｜")[0].split("<|")[0].strip()
            options = {text.strip("(")[0]: text.split(" ", 1)[1] for text in listed.split("\n")}
            found += [grade(reply, options, in_thought=file == reasoner).letter for reply in row["predict"]]
        assert len(found) == total
        assert found.count(None) == unparsed
