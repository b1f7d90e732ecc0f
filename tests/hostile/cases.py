"""Inputs that a reader once failed on, or that are known to hurt readers of their kind: each stays harmless."""

import json

from tests.hostile import kept_cases
from tests.hostile.seeds import SEEDS, lines, table

DEEP = 100_000
LONG = 200_000


def _deep(start: str, middle: str = "1", end: str = "") -> bytes:
    return (start * DEEP + middle + end * DEEP).encode()


_BAD_NAME = table(messag_s=[1]).replace(b"messag_s", b"mess\xc0ge\xff")
_NESTED = _deep('{"a":', "1", "}")
_MARKS = "\u0301\u0323" * 9_000  # as long as anything that is normalised may be, and the slowest to
_TWICE = [{"question": "Which?", "options": ["red", "blue", "green", "white"], "answer": 1e300, "type": _MARKS}]

CASES: dict[str, dict[str, bytes]] = {
    "captions jsonl": {
        "nested": b'{"image": ' + _deep("[") + b"}\n" + SEEDS["captions jsonl"][0],
        "a name of marks": lines({"image": "\u0301\u0323" * LONG, "caption": "A cap."}),
        "a huge number": b'{"image": "a.jpg", "caption": "A cap.", "id": ' + b"9" * 4299 + b"}\n",
        "keys twice": b'{"image": "b.jpg", "image": "a.jpg", "caption": "x", "caption": "A cap."}\n',
    },
    "captions csv": {
        "a million columns": b"image,caption" + b",x" * 10**6 + b"\na.jpg,A cap." + b"," * 10**6 + b"\n",
        "a quote that is never closed": b'image,caption\na.jpg,"' + b"A cap.\n" * LONG,
        "quotes alone": b"image,caption\n" + b'"' * LONG,
        "NUL": b"image,caption\na.jpg,\0A cap.\0\n\0\n",
        "mixed line ends": b"image,caption\ra.jpg,A\n\rb.jpg,B\r\n\n\x85\x0c",
    },
    "captions parquet": {"a name that is no text": _BAD_NAME, "no footer": b"PAR1" * 3},
    "captions json": {"nested": _NESTED, "nested in a text": b'{"caption": ' + _deep("[") + b"}"},
    "captions txt": {"too long": b"a" * 400_001, "half a pair": b"\xed\xa0\x80", "NUL": b"A\0cap."},
    "questions jsonl": {
        "options without end": lines(
            {"image": "a.jpg", "question": "Which?", "options": ["x"] * LONG, "answer": "x"}
        ),
        "options of marks": lines(
            {"image": "a.jpg", "question": "Which?", "options": ["a" + _MARKS * 20, "b"], "answer": _MARKS * 20}
        ),
        "options in a text": lines({"image": "a.jpg", "question": "?", "options": "[" * 20_000, "answer": "A"}),
    },
    "reply ask": {
        "blanks": b" " * LONG + b"x",
        "blanks in thought": b"<think>" + b"\n" * LONG + b"</think>" + b"\t" * LONG + b"[",
        "braces": b"{" * LONG,
        "nested": _NESTED,
        "objects": b"{}" * 5_000,
        "tags": b"<question>" * (LONG // 10),
        "tags never closed": b"<question> a </question> <choices> (A) " * (LONG // 40),
        "options of marks": json.dumps({"questions": _TWICE}).encode(),
        "a stem without end": json.dumps([_TWICE[0] | {"question": "a\u0301\u0323" * LONG}]).encode(),
        "a number without end": b'{"question": ' + b"9" * 5000 + b"}",
    },
    "reply think": {
        "opened without end": b"<think>" * (LONG // 7),
        "opened and closed": b"<think></think>" * (LONG // 10),
        "answers": b"<answer>" * (LONG // 8),
        "cut tags": b"<" * LONG,
        "boxes": b"\\boxed{" * (LONG // 7),
        "nested boxes": b"\\boxed{" + b"{" * LONG,
        "declarations": b"the answer is " * (LONG // 14),
        "retractions": b"no, wait, " * (LONG // 10),
        "marks": _MARKS.encode(),
        "stars": b"*a" * (LONG // 4),
        "blanks": b" " * LONG + b"." + b"\n" * LONG,
        "described": b"described " * (LONG // 10),
        "the text": b"the text" + b" " * LONG,
        "stops": b"." + b")" * LONG + b"." * LONG,
        "letters": b"A. " * (LONG // 3),
    },
    "options": {
        "alike when folded": "x\n---\nﬁ\n---\nfi\n---\nFI\n---\nİ\n---\ni\u0307".encode(),
        "marks": ("the answer is A\n---\n" + "\n---\n".join(_MARKS for _ in range(4))).encode(),
    },
    "recipe": {
        "a number of 5000 digits": b"seed = " + b"9" * 5000,
        "nested": b"seed = " + _deep("["),
        "nested tables": b"seed = " + _deep("{a="),
        "a key of many parts": b"a." * 400_000 + b"a = 1",
        "longer than a recipe": b"# x\n" * 300_000,
        "not UTF-8": b"seed = 1 # \xff",
        "NUL": b"seed = 1\0",
        "a date for a number": b"seed = 1979-05-27",
    },
    "recipe --set": {
        "nested": b"a=" + b"[" * 2000,
        "a number of 5000 digits": b"seed=" + b"9" * 5000,
        "a key of many parts": b"a." * 50_000 + b"a=1",
        "not UTF-8": b"\xff=\xff",
    },
    "tokenizer": {
        "a name that is no text": b'{"chat_template": [{"name": [], "template": "x"}]}',
        "nested": _deep("["),
        "brackets": json.dumps({"chat_template": "{{" + "(" * 500 + "1" + ")" * 500 + "}}"}).encode(),
        "a chain": json.dumps({"chat_template": "{{ " + "m" + ".a" * 330 + " }}"}).encode(),
        "a power": json.dumps({"chat_template": "{{ 9 ** (9 ** 9) }}"}).encode(),
        "a power of a power": json.dumps({"chat_template": "{% set x = 9 ** 99 %}{{ x ** x }}"}).encode(),
        "a text without end": json.dumps({"chat_template": "{{ 'a' * 10 ** 10 }}"}).encode(),
        "a list without end": json.dumps({"chat_template": "{{ (10 ** 10 * [1]) | length }}"}).encode(),
        "a wide field": json.dumps({"chat_template": "{{ '%9999999999d' % 1 }}"}).encode(),
        "a name of many parts": json.dumps(
            {"chat_template": "{% for m in a" + ".b" * 400 + " %}{% endfor %}"}
        ).encode(),
        "reaching out": json.dumps({"chat_template": "{{ ''.__class__.__mro__[1].__subclasses__() }}"}).encode(),
    },
    "sharegpt json": {
        "not UTF-8": b'[{"messages": "\xff"}]',
        "nested": _deep("["),
        "marks never closed": json.dumps(
            [{"messages": [{"role": "user", "content": "<|vision_start|>" * 20_000}], "images": ["a.jpg"]}]
        ).encode(),
    },
    "sharegpt jsonl": {
        "lists for turns": lines(
            {"messages": [[[[]]]], "images": [[]]}, {"conversations": {"from": [], "value": []}}
        )
    },
    "sharegpt parquet": {"a name that is no text": _BAD_NAME},
    "sharegpt dataset_info": {
        "not UTF-8": b'{"\xff": {}}',
        "nested": _NESTED,
        "columns are a list": b'{"x": {"file_name": "set.json", "columns": ["messages"]}}',
        "tags are a number": b'{"x": {"file_name": "set.json", "tags": 7}}',
    },
    "lpt30k jsonl": {
        "a long name": lines({"example_id": "x" * 300, "messages": {"user": "a", "assistant": "b"}}),
        "leads out": lines({"example_id": "../outside.txt", "messages": {"user": "a", "assistant": "b"}}),
        "odd columns": lines(*({f"column{i}": i} for i in range(300))),
    },
    "http body": {
        "more tokens than there are": b'{"choices": [{"text": "a"}], "usage": {"prompt_tokens": '
        + b"9" * 30
        + b"}}",
        "fewer tokens than none": b'{"choices": [{"text": "a"}], "usage": {"completion_tokens": -1}}',
        "nested": _NESTED,
        "indices": b'{"choices": [{"index": -1, "text": "a"}, {"index": -1, "text": "b"}, {"index": 99}]}',
        "half a pair": b'{"choices": [{"text": "\\ud800"}]}',
        "an error that is nested": b'{"error": ' + _deep("[") + b"}",
    },
    "published docci_descriptions.jsonlines": {
        "NUL": lines({"example_id": "train_0", "image_file": "\0", "description": "x"}),
        "a long name": lines({"example_id": "train_0", "image_file": "x/" * 3000, "description": "x"}),
        "leads out": lines({"example_id": "train_0", "image_file": "../../outside.txt", "description": "x"}),
        "nested": b'{"example_id": ' + _deep("["),
        "a line's end in a text": '{"example_id": "train_0", "image_file": "x", "description": "\u2028"}'.encode(),
    },
    "published docci_mcq.csv": {
        "short rows": SEEDS["published docci_mcq.csv"][0] + b"train_0\n",
        "no choices": SEEDS["published docci_mcq.csv"][0].replace(b"(A) a cube (B) a ball", b""),
        "more choices than letters": SEEDS["published docci_mcq.csv"][0].replace(
            b"(A) a cube (B) a ball", "".join(f"({c}) {c} " for c in "ABCDEFGHIJABCDEFGHIJ").encode()
        ),
    },
    "published stage_2_simple_cot/x/0_1000.jsonl": {
        "turns never closed": lines(
            {"prompt": "<|im_start|>user\n" * 20_000, "predict": [], "metadata": {"mcq_unique_id": "q0"}}
        ),
        "nested": b'{"prompt": ' + _deep("["),
    },
    **kept_cases.CASES,
}
