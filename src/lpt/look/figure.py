"""One record as a picture: an image carried through Ask, Think and Think harder, with the cue lit (SVG).

Self-contained: the image is inside, and no font is loaded. All words are escaped, so that what a model said is
drawn and never obeyed.
"""

import base64
import re
from collections.abc import Sequence
from html import escape
from io import BytesIO

import msgspec
from PIL import Image, ImageOps

from lpt.errors import UserError
from lpt.look.safe import safe
from lpt.look.show import Lineage
from lpt.store.run import Run

_WIDTH = 1200
_MARGIN = 28
_GAP = 24
_LINE = 21
_SIZE = 14
_LETTER = 7.15
"""Mean width of a letter of 14 px Helvetica or its like, on the safe side."""
_INK, _DIM, _RIGHT, _WRONG = "#1f2328", "#6e7781", "#1a7f37", "#cf222e"
_LIT = "#ffd33d"
_BOLD = ' class="b"'


class Piece(msgspec.Struct, frozen=True):
    """Some words of one look."""

    text: str
    fill: str = _INK
    bold: bool = False
    lit: bool = False
    """Drawn on yellow: the cue."""


def draw(run: Run, found: Lineage) -> str:
    """Draw a long thought with its lineage.

    Raises:
        UserError: the record is not a long thought, or its image is not there.
    """
    if not (found.caption and found.question and found.thought and found.long):
        raise UserError(
            "only a long thought, or an example or pair made from one, can be drawn: give the id of one"
        )
    column = (_WIDTH - 2 * _MARGIN - 2 * _GAP) // 3
    question, thought, long = found.question, found.thought, found.long
    picture, height = _picture(run, found.caption.path, column)
    asked = [Piece(safe(question.stem), bold=True)]
    for letter, option in question.letters.items():
        right = letter == question.answer
        mark = " ✓" if right else ""
        asked.append(Piece(f"\n({letter}) {safe(option)}{mark}", _RIGHT if right else _INK))
    thinks = [Piece(safe(thought.thought)), *_answer(thought.answer, thought.verdict)]
    harder = [
        Piece("… " + _last_words(safe(thought.thought)) + "\n", _DIM),
        Piece(safe(long.cue), bold=True, lit=True),
        Piece(safe(long.continuation)),
        *_answer(long.answer, long.verdict),
    ]
    columns = [_lines(pieces, int(column / _LETTER)) for pieces in (asked, thinks, harder)]
    top = _MARGIN + 58
    tall = max(top + height + _GAP + _LINE * len(columns[0]), *(top + _LINE * len(lines) for lines in columns[1:]))
    heads = (
        ("1  Ask", "an LLM reads the caption and writes a question"),
        ("2  Think", "the VLM to be trained sees the image and answers"),
        ("3  Think harder", "a reasoning LLM continues that very thought"),
    )
    body = []
    for i, (lines, (title, what)) in enumerate(zip(columns, heads, strict=True)):
        x = _MARGIN + i * (column + _GAP)
        body.append(f'<text x="{x}" y="{_MARGIN + 12}" class="h">{title}</text>')
        body.append(f'<text x="{x}" y="{_MARGIN + 33}" class="d">{what}</text>')
        y = top + (height + _GAP if i == 0 else 0)
        body += _drawn(lines, x, y + 10)
    bottom = tall + _MARGIN
    return _SVG.format(
        width=_WIDTH,
        height=bottom,
        x=_MARGIN,
        top=top,
        column=column,
        tall=height,
        picture=picture,
        body="\n".join(body),
    )


_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" \
role="img" aria-label="An image carried through Ask, Think and Think harder">
<style>
text {{ font: 14px Helvetica, Arial, "DejaVu Sans", sans-serif; fill: #1f2328; white-space: pre }}
.h {{ font-size: 18px; font-weight: bold }}
.d {{ fill: #6e7781; font-size: 13px }}
.b {{ font-weight: bold }}
</style>
<rect x="0.5" y="0.5" width="{width}" height="{height}" rx="10" fill="#ffffff" stroke="#d0d7de"/>
<image x="{x}" y="{top}" width="{column}" height="{tall}" href="{picture}"/>
{body}
</svg>
"""


def _picture(run: Run, path: str, width: int) -> tuple[str, int]:
    try:
        with Image.open(run.images / path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except OSError as error:
        raise UserError(f"the image {safe(path)} cannot be read: {error.strerror or 'not an image'}") from error
    height = round(width * image.height / image.width)
    # Twice the size at which it is drawn, for screens that have the pixels; never more than there are.
    image.thumbnail((2 * width, 2 * height))
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode(), height


def _answer(answer: str | None, verdict: str) -> list[Piece]:
    right = verdict == "correct"
    mark = "✓" if right else "✗"
    said = " ".join(safe(answer or "no answer").split())
    return [Piece(f"\n\n→ {said}  {mark} {verdict}", _RIGHT if right else _WRONG, bold=True)]


def _last_words(text: str, count: int = 24) -> str:
    return " ".join(text.split()[-count:])


def _lines(pieces: Sequence[Piece], width: int) -> list[list[Piece]]:
    """Wrap pieces to a width in letters, without losing which word is of which piece."""
    lines: list[list[Piece]] = [[]]
    used = 0
    for piece in pieces:
        for i, paragraph in enumerate(piece.text.split("\n")):
            if i:
                lines.append([])
                used = 0
            for word in re.findall(r"\S+|\s+", paragraph):
                if used and used + len(word) > width and not word.isspace():
                    lines.append([])
                    used = 0
                if used or not word.isspace():  # a line does not begin with the space between words
                    lines[-1].append(msgspec.structs.replace(piece, text=word))
                    used += len(word)
    return lines


def _drawn(lines: list[list[Piece]], x: int, y: int) -> list[str]:
    """Lines as SVG. What is lit stands at the start of its line and is given a width, so that it fits its light."""
    drawn = []
    for i, line in enumerate(lines):
        at = y + i * _LINE
        lit = "".join(piece.text for piece in line if piece.lit).strip()
        start = x
        if lit:
            wide = round(len(lit) * _LETTER)
            drawn.append(
                f'<rect x="{x - 3}" y="{at - _SIZE}" width="{wide + 6}" height="{_LINE - 2}" rx="3" fill="{_LIT}"/>'
                f'<text x="{x}" y="{at}" class="b" textLength="{wide}">{escape(lit)}</text>'
            )
            start = x + wide + 4
        spans = [
            f'<tspan{_BOLD if piece.bold else ""} fill="{piece.fill}">{escape(piece.text)}</tspan>'
            for piece in line
            if not piece.lit
        ]
        if spans:
            drawn.append(f'<text x="{start}" y="{at}">{"".join(spans)}</text>')
    return drawn
