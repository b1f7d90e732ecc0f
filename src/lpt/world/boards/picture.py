"""A board as a picture of 112 by 112 pixels: a cell is 28 pixels wide, which Qwen2.5-VL makes one token of."""

import io
import random
from typing import Final

from PIL import Image, ImageDraw

from lpt.world.boards.board import SIDE, Board
from lpt.world.words import draw

CELL: Final = 28
STYLES: Final = ("plain", "dusk")
"""plain: what students learn on. dusk: darker ground, slender arrows, never learnt on; one reads some wrong."""
_INK: Final = {
    "red": (214, 40, 40),
    "green": (42, 160, 66),
    "blue": (48, 86, 220),
    "yellow": (238, 206, 40),
    "purple": (142, 54, 186),
    "orange": (245, 136, 30),
    "black": (28, 28, 28),
    "white": (250, 250, 250),
}
# An arrow to the right around (0, 0), in units of half a cell: tip, barbs, shaft.
_ARROW: Final = ((0.8, 0.0), (0.1, -0.62), (0.1, -0.26), (-0.75, -0.26), (-0.75, 0.26), (0.1, 0.26), (0.1, 0.62))
_SLENDER: Final = ((0.82, 0.0), (0.2, -0.56), (0.2, -0.2), (-0.78, -0.2), (-0.78, 0.2), (0.2, 0.2), (0.2, 0.56))
_TURN: Final = {"right": (1, 0), "down": (0, 1), "left": (-1, 0), "up": (0, -1)}


def picture(board: Board, grain: object, style: str = "plain") -> Image.Image:
    """Paint a board.

    Args:
        board: what is where.
        grain: what the small irregularities (place, shade, ground) depend on; the same grain, the same picture.
        style: one of `STYLES`.
    """
    rng = draw("board picture", style, grain)
    ground = rng.randint(150, 190) if style == "plain" else rng.randint(130, 145)
    image = Image.new("RGB", (SIDE * CELL, SIDE * CELL))
    pen = ImageDraw.Draw(image)
    for cell, (color, move) in enumerate(zip(board.colors, board.arrows, strict=True)):
        left, top = cell % SIDE * CELL, cell // SIDE * CELL
        shade = ground + rng.randint(-8, 8)
        pen.rectangle([left, top, left + CELL - 1, top + CELL - 1], fill=(shade, shade, shade))
        across, along = _TURN[move]
        x = left + CELL / 2 + rng.uniform(-2, 2)
        y = top + CELL / 2 + rng.uniform(-2, 2)
        size = CELL / 2 * rng.uniform(0.8, 0.95)
        outline = [
            (x + size * (u * across - v * along), y + size * (u * along + v * across))
            for u, v in (_ARROW if style == "plain" else _SLENDER)
        ]
        pen.polygon(outline, fill=_near(_INK[color], rng))
    return image


def png(board: Board, grain: object, style: str = "plain") -> bytes:
    """The picture as a PNG file."""
    out = io.BytesIO()
    picture(board, grain, style).save(out, "PNG")
    return out.getvalue()


def _near(ink: tuple[int, int, int], rng: random.Random) -> tuple[int, int, int]:
    red, green, blue = (max(0, min(255, value + rng.randint(-14, 14))) for value in ink)
    return red, green, blue
