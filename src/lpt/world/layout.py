"""Where the places of a scene lie in its picture: pixels, origin at the top left, y down."""

from typing import Final

from lpt.world.words import PLAIN, RICH

SIZE: Final = {RICH: (448, 336), PLAIN: (168, 168)}
"""Width and height. A plain place is 56 x 56: two by two of the 28-pixel patches that Qwen2-VL's family sees."""

HORIZON: Final = 165
_COLUMN_WIDTH: Final = 82
_ROW_BASE: Final = (214, 249, 288)
_ROW_SCALE: Final = (0.84, 0.96, 1.08)
_SIZE_SCALE: Final = {"small": 0.68, "medium": 1.0, "large": 1.32}
_RADIUS: Final = 27.0
_PLAIN_CELL: Final = 56
_PLAIN_RADIUS: Final = 19.0

SIGN_TOP: Final = 98
SIGN_HEIGHT: Final = 34
SIGN_WIDTH: Final = 80
FLOCK_TOP: Final = 12
FLOCK_BOTTOM: Final = 92


def column_x(style: str, column: int) -> float:
    """The middle of a column."""
    if style == PLAIN:
        return _PLAIN_CELL * (column + 0.5)
    return SIZE[RICH][0] / 2 + (column - 2) * _COLUMN_WIDTH


def base_y(style: str, row: int) -> float:
    """Where an object of this row touches the ground (rich) or ends (plain)."""
    if style == PLAIN:
        return _PLAIN_CELL * (row + 0.5) + _PLAIN_RADIUS
    return float(_ROW_BASE[row])


def radius(style: str, row: int, size: str) -> float:
    """Half the height of an object."""
    if style == PLAIN:
        return _PLAIN_RADIUS
    return _RADIUS * _ROW_SCALE[row] * _SIZE_SCALE[size]
