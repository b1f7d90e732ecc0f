"""Files and replies as they should be: what the readers' tests and the fuzzer start from, and damage."""

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from lpt.imports.published import CAPTIONS, LONG_THOUGHTS, QUESTIONS, THOUGHTS
from tests.hostile import kept

SHOWN = "What is it?\n(A) a cat\n(B) a dog\nGive your answer as (X), where X is the letter."
SAID = "<think> It barks. </think> <answer> (B) </answer>"


def picture(kind: str = "JPEG", mode: str = "RGB", **options: Any) -> bytes:
    """A small image file."""
    out = io.BytesIO()
    Image.new(mode, (16, 12)).save(out, kind, **options)
    return out.getvalue()


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "words"
    return picture("JPEG", exif=exif, comment=b"more words")


def lines(*rows: object) -> bytes:
    """One JSON value a line."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def table(**columns: list[Any]) -> bytes:
    """A Parquet file."""
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


_ROWS = (
    {"image": "a.jpg", "caption": "A red cap.", "id": "one"},
    {"image": "./a.jpg", "caption": "Eine rote Mütze\r\nauf \u2028 dem Tisch.", "id": 2},
    {"image": "../outside.txt", "caption": "Leads out."},
    {"image": "images\\a.jpg", "caption": "\u202eleft\x1b[31m"},
)
_ASKING = (
    {"image": "a.jpg", "question": "Which?", "options": ["red", "blue"], "answer": "A", "caption": "A cap."},
    {"image": "a.jpg", "question": "How many?", "options": "(A) one\n(B) two", "answer": "two", "type": "count"},
    {"image": "a.jpg", "question": "Open?", "answer": "yes"},
)
_ASKED = {"question": "Which?", "options": ["red", "blue", "green", "white"], "answer": "red", "type": "count"}
_TAGGED = (
    "1. <question> Which colour? </question> <choices> (A) red (B) blue (C) green (D) white </choices> "
    "<answer> red </answer> <type> recognition </type>\n"
)
_CHAT = {
    "messages": [{"role": "user", "content": f"<image>{SHOWN}"}, {"role": "assistant", "content": SAID}],
    "images": ["a.jpg"],
    "metadata": {"category": "O", "cue": "Wait,"},
    "assistant_prefix": "<think> It",
}
_RANKED = {
    "conversations": [{"from": "human", "value": f"<image>{SHOWN}"}],
    "chosen": {"from": "gpt", "value": SAID},
    "rejected": {"from": "gpt", "value": SAID.replace("B", "A")},
    "images": ["a.jpg"],
    "system": "Look.",
}
_RENDERED = {
    "messages": [
        {
            "role": "user",
            "content": f"<|im_start|>system\nLook.<|im_end|>\n<|im_start|>user\n<|vision_start|><|image_pad|>"
            f"<|vision_end|>{SHOWN}<|im_end|>\n<|im_start|>assistant\n<think> It",
        },
        {"role": "assistant", "content": " barks. </think> <answer> (B) </answer><|im_end|>"},
    ],
    "images": ["a.jpg"],
}
_INFO = {
    "set": {
        "file_name": "set.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images", "chosen": "chosen"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
    }
}
_RELEASED = {"example_id": "train_0", "messages": {"user": SHOWN, "assistant": SAID}, "cot_type": "long"}
_STEM = "What is on the left?"
_PROMPT = (
    "<|im_start|>system\nPlease provide your answer as (X).<|im_end|>\n<|im_start|>user\n"
    f"<|vision_start|><|image_pad|><|vision_end|>{_STEM}\n(A) a cube\n(B) a ball<|im_end|>\n<|im_start|>assistant\n"
)
_META = {"metadata": {"mcq_unique_id": "q0"}}

PUBLISHED: dict[str, bytes] = {
    CAPTIONS: lines({"example_id": "train_0", "image_file": "train_0.jpg", "description": "A cube."}),
    QUESTIONS: (
        "image_id,mcq_question,mcq_choices,mcq_answer,mcq_question_type,mcq_unique_id,mcq_is_valid\n"
        f"train_0,{_STEM},(A) a cube (B) a ball,a cube,Spatial,q0,True\n"
    ).encode(),
    f"{THOUGHTS}/x/0_1000.jsonl": lines(
        {"prompt": _PROMPT, "predict": ["<think>It has six faces.</think><answer>(A)</answer>"], **_META}
    ),
    f"{LONG_THOUGHTS}/x/Wait,_0_500.jsonl": lines(
        {"simple_cot": "<think>it has six faces.", "predict": [" Wait, 6.\n</think><answer>(A)</answer>"], **_META}
    ),
}
"""A folder of recorded outputs, by relative path."""

_REPLY = {
    "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": SAID, "reasoning": None}, "finish_reason": "stop"},
        {"index": 1, "message": {"content": None, "reasoning_content": "Hmm."}, "finish_reason": "length"},
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 3}},
}
_RECIPE = """
seed = 7
[captions]
source = "folder"
path = "images"
columns = { image = "file" }
[models.one]
url = "http://127.0.0.1:8000/v1"
model = "m"
key_env = "KEY"
headers = { X = "$Y" }
extra = { a = [1, 2.5, "x", 1979-05-27T07:32:00Z], b = { c = true } }
[ask]
model = "one"
[think]
model = "one"
samples = 2
[think_harder]
model = "one"
cues = ["Wait,", "Hmm,"]
[verify.blind]
model = "one"
[curate]
filters = ["leak", "mine.py:filter"]
"""
_TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"

_REPLIES_ASK = [
    json.dumps({"questions": [_ASKED, _ASKED | {"options": "(A) a (B) b (C) c (D) d"}]}).encode(),
    f"<think>So.</think>\n```json\n{json.dumps([_ASKED])}\n```".encode(),
    (_TAGGED * 2).encode(),
    b'{"questions": []}',
    b'{"questions": [{"question": "Which?", "options": {"A": "r", "B": 2, "C": 1e3, "D": "w"}, "answer": "A", "ty',
]
_REPLIES_THINK = [
    SAID.encode(),
    b"<think>Red, as the caption describes it.\nWait, no. The image shows blue.</think><answer>A</answ",
    b"So the answer is (B) a blue one, because it is not red. Hmm, wait. Actually, \\boxed{\\text{A}} is correct.",
    "故选 D。答案是:【A】 **the final answer**: `none of these`".encode(),
    b"Hold on.</think>\n\nA. red\n\nIt is said to be so in the description.",
    b'```json\n{"options": ["one", "two", "three"]}\n```',
    b"- one\n2. two\n(c) three",
]
_IMAGES = [
    _turned(),
    picture("PNG", "RGBA"),
    picture("PNG", "P", transparency=0),
    picture("PNG", "I;16"),
    picture("GIF", "P"),
    picture("WEBP"),
    picture("BMP"),
    picture("TIFF", "F"),
    picture("TIFF", compression="tiff_lzw"),
    picture("PPM"),
    picture("JPEG2000"),
]
_TABLE: dict[str, list[Any]] = {
    "image": ["a.jpg", "b.jpg", None, "../outside.txt"],
    "caption": ["A red cap.", None, "Words.", "x"],
    "id": ["1", "2", "3", "3"],
}

SEEDS: dict[str, list[bytes]] = {
    "captions jsonl": [lines(*_ROWS), b"\xef\xbb\xbf" + lines(_ROWS[0])],
    "captions csv": [
        b'id,image,caption\r\n1,a.jpg,"A car,\r\na ""red"" one."\r\n\r\n2,"./a.jpg",5" wide\r\n',
        "\ufeffimage;caption\na.jpg;Rot\n../outside.txt;hinaus\n".encode(),
    ],
    "captions parquet": [
        table(**_TABLE),
        table(image=[{"bytes": picture(), "path": "/x/../a.jpg"}], caption=["A cap."]),
    ],
    "captions docci": [
        lines({"example_id": "train_0", "image_file": "a.jpg", "description": "A cap.", "split": "train"})
    ],
    "captions txt": [b"\xef\xbb\xbfA red cap.\r\nOn a table.", "Ein Text.".encode("utf-16")],
    "captions json": [b'{"caption": "A red cap.", "text": 1}', b'"A red cap."'],
    "questions jsonl": [lines(*_ASKING)],
    "questions csv": [b'image,question,options,answer\na.jpg,Which?,"(A) red (B) blue",A\na.jpg,Open?,,yes\n'],
    "questions parquet": [
        table(image=[picture(), None], question=["Which?", "How?"], options=[["a", "b"], None], answer=["a", "3"])
    ],
    "image": _IMAGES,
    "reply ask": _REPLIES_ASK,
    "reply think": _REPLIES_THINK,
    "options": [b"The answer is (B).\n---\nred\n---\na blue one\n---\n(A)\n---\n5 m\n---\nA"],
    "recipe": [_RECIPE.encode()],
    "recipe --set": [b"think.model=one", b'captions.columns={ image = "x" }', b'"a b".c = [1, 2]'],
    "tokenizer": [
        json.dumps({"chat_template": _TEMPLATE, "eos_token": {"content": "</s>"}}).encode()
        + b'\n---\n{"bos_token": "<s>"}',
        json.dumps({"chat_template": [{"name": "default", "template": _TEMPLATE}]}).encode(),
    ],
    "sharegpt json": [json.dumps([_CHAT, _RANKED, _RENDERED]).encode()],
    "sharegpt jsonl": [lines(_CHAT, _RANKED, _RENDERED)],
    "sharegpt parquet": [
        table(
            messages=[_CHAT["messages"]],
            images=[["a.jpg"]],
            metadata=[{"category": "O"}],
        )
    ],
    "sharegpt dataset_info": [json.dumps(_INFO).encode()],
    "lpt30k jsonl": [lines(_RELEASED, {**_RELEASED, "example_id": "../outside", "more": 1})],
    "lpt30k parquet": [table(**{name: [value] for name, value in _RELEASED.items()})],
    "http body": [
        json.dumps(_REPLY).encode(),
        b'{"choices": [{"text": "Hello"}]}',
        b'{"error": {"message": "no such model", "type": "x", "code": 404}}',
        b"<html><style>x</style><title>502</title></html> sk-canary-3e9a51",
    ],
    **{f"published {name}": [good] for name, good in PUBLISHED.items()},
    **kept.SEEDS,
}
