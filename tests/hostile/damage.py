"""Good files made bad: cut, flipped, nested, blown up, spliced, and with the odd thing in each place."""

import contextlib
import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

ODD = (
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\r",
    b"\r\n",
    b"\n",
    b"\x0b",
    b"\x1b]0;title\x07\x1b[2J",
    "\u202e\u2066\u200b\u2028\u0301\u0323".encode(),
    "\U0001f468\u200d\U0001f469 İ ﬁ \uff1cthink\uff1e ½".encode(),
    b'"',
    b"'",
    b'"""',
    b"\\",
    b"\\ud800",
    b"\\u0000",
    b",",
    b";",
    b"\t",
    b"{",
    b"}",
    b"[",
    b"]",
    b"null",
    b"true",
    b"NaN",
    b"-0",
    b"1e999",
    b"-1",
    b"9223372036854775808",
    b"9" * 400,
    b"9" * 5000,
    b"1979-05-27T07:32:00Z",
    b"../../../../etc/passwd",
    b"/etc/passwd",
    b"..\\outside.txt",
    b"../outside.txt",
    b"/dev/zero",
    b"file:///etc/passwd",
    b"~root/x",
    b"%s%n{0.__class__}{{7*7}}{% raw %}",
    b"<think>",
    b"</think>",
    b"<answer>",
    b"</answer>",
    b"</answ",
    b"<image>",
    b"<|im_start|>user\n",
    b"<|im_end|>",
    b"<|vision_start|>",
    b"\\boxed{",
    b"the answer is ",
    b"no, wait. ",
    b"(A) ",
    b"B. ",
    b"<question>",
    b"</question>",
    b"<choices>",
    b"[secret]",
    b"[a.b]",
    b"a.b = ",
    b"= ",
    b"#",
)

_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**64,
    10**300,
    1.5,
    "",
    " ",
    "\0",
    "\u202e\x1b[31m",
    "../outside.txt",
    "/etc/passwd",
    "x" * 300,
    "x/" * 3000,
    [],
    {},
    [[]],
    {"": None},
    [None, 1, "a"],
    {"role": "user", "content": [{"type": {}, "text": 3}]},
)


def damaged(data: bytes, chance: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """A file with one to a few kinds of damage."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        data = chance.choice(_KINDS)(data, chance)
        if others and chance.random() < 0.1:
            other = chance.choice(others)
            data = data[: _place(data, chance)] + other[_place(other, chance) :]
    return data[:400_000]


def _place(data: bytes, chance: random.Random) -> int:
    return chance.randrange(len(data) + 1)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: _place(data, chance)]


def _hole(data: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + data[at + chance.choice((1, 2, 8, 64)) :]


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 4, 16)) if changed else 0):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, chance: random.Random) -> bytes:
    at, new = _place(data, chance), chance.choice(ODD)
    return data[:at] + new + data[at + len(new) :]


def _insert(data: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + chance.choice(ODD) + data[at:]


def _again(data: bytes, chance: random.Random) -> bytes:
    """One odd thing, or a piece of the file, again and again."""
    at = _place(data, chance)
    piece = data[at : at + chance.choice((1, 7, 50))] if chance.random() < 0.5 else chance.choice(ODD)
    return data[:at] + piece * chance.choice((2, 17, 300, 3000)) + data[at:]


def _nested(data: bytes, chance: random.Random) -> bytes:
    at, depth = _place(data, chance), chance.choice((5, 60, 900, 990, 20_000))
    opening, closing = chance.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"{a=", b"}"), (b"<think>", b"</think>")))
    return data[:at] + opening * depth + (b"1" + closing * depth if chance.random() < 0.8 else b"") + data[at:]


def _number(data: bytes, chance: random.Random) -> bytes:
    found = list(re.finditer(rb"-?\d+", data))
    if not found:
        return _insert(data, chance)
    one = chance.choice(found)
    return data[: one.start()] + chance.choice((b"0", b"-7", b"9" * 25, b"9" * 5000, b"1e400")) + data[one.end() :]


def _value(data: bytes, chance: random.Random) -> bytes:
    """Another value in one place of a JSON text, or of one line of it."""
    rows = data.split(b"\n")
    at = chance.randrange(len(rows))
    for piece, whole in ((rows[at], False), (data, True)):
        with contextlib.suppress(ValueError, RecursionError):
            put = json.dumps(_other(json.loads(piece), chance), ensure_ascii=chance.random() < 0.2)
            new = put.encode("utf-8", "surrogatepass")
            return new if whole else b"\n".join([*rows[:at], new, *rows[at + 1 :]])
    return _overwrite(data, chance)


def _other(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        kind = chance.random()
        if kind < 0.1:
            return {other: inner for other, inner in value.items() if other != key}
        if kind < 0.2:
            return value | {chance.choice(("", "\0", "from", "value", "bytes", "x" * 99)): value[key]}
        return value | {key: _other(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        return [*value[:at], _other(value[at], chance), *value[at + chance.choice((0, 1, 1, 1)) :]]
    return chance.choice(_VALUES)


_KINDS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _cut,
    _hole,
    _flip,
    _flip,
    _overwrite,
    _insert,
    _insert,
    _again,
    _nested,
    _number,
    _value,
    _value,
    _value,
)
