"""The bodies of the objects: outline, surface direction and pattern of each, as fields over pixels.

Only sums, products, quotients and square roots are used: IEEE gives those the same bits on every machine, so a
picture is the same to the byte wherever it is painted (sines and powers differ in the last bit between libraries).
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


class Body(NamedTuple):
    """Fields of one object over a window of pixels, each of the window's shape."""

    distance: Floats
    """To the outline in units of the object's radius, negative inside."""
    normal: tuple[Floats, Floats, Floats]
    """The surface's direction: right, up, towards the viewer; about unit length."""
    across: Floats
    """Surface coordinates for patterns."""
    along: Floats


_f = np.float32


def _root(values: Floats) -> Floats:
    out: Floats = np.sqrt(np.maximum(values, 0))
    return out


def ball(x: Floats, y: Floats) -> Body:
    """A sphere."""
    squared = x * x + y * y
    z = _root(1 - squared)
    bulge = 1 + _f(0.35) * squared
    return Body(_root(squared) - 1, (x, y, z), x * bulge, y * bulge)


def cube(x: Floats, y: Floats) -> Body:
    """A box seen from a little above and to the right."""
    front = np.maximum(np.abs(x + _f(0.2)) - _f(0.76), np.abs(y + _f(0.24)) - _f(0.76))
    lean_x = x - (y - _f(0.52)) * _f(0.92)
    top = np.maximum(np.abs(lean_x + _f(0.2)) - _f(0.76), np.abs(y - _f(0.7)) - _f(0.19))
    lean_y = y - (x - _f(0.56)) * _f(1.08)
    side = np.maximum(np.abs(x - _f(0.735)) - _f(0.18), np.abs(lean_y + _f(0.24)) - _f(0.76))
    face = np.argmin(np.stack([front, top, side]), axis=0)
    # The faces' own directions, turned a little to the viewer so that none goes black.
    nx = np.choose(face, (_f(0.0), _f(0.1), _f(0.85))).astype(np.float32)
    ny = np.choose(face, (_f(0.1), _f(0.92), _f(0.1))).astype(np.float32)
    nz = np.choose(face, (_f(0.99), _f(0.38), _f(0.52))).astype(np.float32)
    across = np.where(face == 1, lean_x, np.where(face == 2, x * _f(1.6), x))
    along = np.where(face == 1, y * _f(1.6), np.where(face == 2, lean_y, y))
    return Body(np.minimum(np.minimum(front, top), side), (nx, ny, nz), across, along)


def cylinder(x: Floats, y: Floats) -> Body:
    """A drum that stands upright."""
    width, flat = _f(0.7), _f(0.2)
    lid = (_root((x / width) ** 2 + ((y - _f(0.78)) / flat) ** 2) - 1) * flat
    foot = (_root((x / width) ** 2 + ((y + _f(0.78)) / flat) ** 2) - 1) * flat
    wall = np.maximum(np.abs(x) - width, np.abs(y) - _f(0.78))
    on_lid = lid < 0
    turn = np.clip(x / width, -1, 1)
    depth = _root(1 - turn * turn)
    nx = np.where(on_lid, _f(0.0), turn)
    ny = np.where(on_lid, _f(0.9), _f(0.05))
    nz = np.where(on_lid, _f(0.42), depth)
    across = np.where(on_lid, x, turn * (1 + _f(0.3) * turn * turn))
    along = np.where(on_lid, y * 2, y + flat * depth)
    return Body(np.minimum(np.minimum(lid, foot), wall), (nx, ny, nz), across, along)


def cone(x: Floats, y: Floats) -> Body:
    """A cone on its base."""
    flat = _f(0.2)
    width = np.maximum(_f(0.86) * (1 - y) / _f(1.78), _f(0.02))
    flank = np.maximum((np.abs(x) - width) * _f(0.9), np.maximum(-(y + _f(0.78)), y - 1))
    foot = (_root((x / _f(0.86)) ** 2 + ((y + _f(0.78)) / flat) ** 2) - 1) * flat
    turn = np.clip(x / width, -1, 1)
    depth = _root(1 - turn * turn)
    return Body(np.minimum(flank, foot), (turn * _f(0.9), depth * 0 + _f(0.43), depth * _f(0.9)), turn * width, y)


def ring(x: Floats, y: Floats) -> Body:
    """A torus that faces the viewer."""
    middle, tube = _f(0.66), _f(0.33)
    reach = _root(x * x + y * y)
    away = np.maximum(reach, _f(1e-3))
    turn = np.clip((reach - middle) / tube, -1, 1)
    return Body(
        np.abs(reach - middle) - tube, (turn * x / away, turn * y / away, _root(1 - turn * turn)), x * 1, y * 1
    )


def star(x: Floats, y: Floats) -> Body:
    """A puffy star with five points."""
    distance = _star_outline(x, y + _f(0.08))
    # The body swells towards its middle line; its direction follows the outline's own.
    rise_y, rise_x = np.gradient(distance)
    steep = np.maximum(_root(rise_x * rise_x + rise_y * rise_y), _f(1e-6))
    edge = np.clip(1 + distance / _f(0.3), 0, 1)
    # Rows run down and y runs up: the sign of the vertical slope turns.
    slope = edge * _f(0.8) / steep
    normal = (rise_x * slope, -rise_y * slope, _root(1 - edge * edge * _f(0.64)))
    return Body(distance, normal, x * 1, y * 1)


def _star_outline(x: Floats, y: Floats) -> Floats:
    """Signed distance to a five-pointed star of radius 1.06 (folding the plane along its mirror lines)."""
    radius, inner = 1.06, 0.48
    x = np.abs(x)
    for ax, ay in ((0.809017, -0.587785), (-0.809017, -0.587785)):
        # Reflects what lies on the far side of the mirror line.
        fold = 2 * np.maximum(ax * x + ay * y, 0)
        x, y = x - _f(ax) * fold, y - _f(ay) * fold
    x = np.abs(x)
    y = y - _f(radius)
    bx, by = inner * 0.587785, inner * 0.809017 - 1.0
    share = np.clip((x * bx + y * by) / (bx * bx + by * by), 0, radius)
    dx, dy = x - bx * share, y - by * share
    distance: Floats = (_root(dx * dx + dy * dy) * np.where(y * bx - x * by > 0, _f(1), _f(-1))).astype(np.float32)
    return distance


def circle(x: Floats, y: Floats) -> Body:
    """A flat disc."""
    return _flat(_root(x * x + y * y) - 1, x, y)


def square(x: Floats, y: Floats) -> Body:
    """A flat square."""
    return _flat(np.maximum(np.abs(x), np.abs(y)) - _f(0.9), x, y)


def triangle(x: Floats, y: Floats) -> Body:
    """A flat triangle that points up."""
    return _flat(np.maximum((np.abs(x) - _f(0.5) * (1 - y)) * _f(0.894), -(y + _f(0.9))), x, y)


def _flat(distance: Floats, x: Floats, y: Floats) -> Body:
    nothing = distance * 0
    return Body(distance, (nothing, nothing, nothing + 1), x, y)


BODIES: Final[dict[str, Callable[[Floats, Floats], Body]]] = {
    "ball": ball,
    "cube": cube,
    "cylinder": cylinder,
    "cone": cone,
    "ring": ring,
    "star": star,
    "circle": circle,
    "square": square,
    "triangle": triangle,
}


def pattern_ink(pattern: str, across: Floats, along: Floats) -> Floats:
    """Where a pattern covers the ground color.

    Args:
        pattern: plain, striped, spotted or checkered.
        across: Surface coordinate, radius units.
        along: The other one.

    Returns:
        0 (the object's color) to 1 (the pattern's), shape of the coordinates.
    """
    if pattern == "plain":
        return across * 0
    if pattern == "striped":
        return _soft(_f(0.21) - _wave(along * _f(1.45) + across * _f(0.45) + _f(0.25)), 14)
    if pattern == "checkered":
        return _soft((_wave(across * _f(1.15)) - _f(0.25)) * (_wave(along * _f(1.15)) - _f(0.25)) * 4, 14)
    row = np.floor(along * _f(1.75) + _f(0.5))
    dx = _wave(across * _f(1.6) + row * _f(0.5)) / _f(1.6)
    dy = along - row / _f(1.75)
    return _soft(_f(0.17) - _root(dx * dx + dy * dy), 14)


def _wave(values: Floats) -> Floats:
    """Distance to the nearest whole number, 0 to 0.5."""
    out: Floats = np.abs(values - np.floor(values + _f(0.5)))
    return out


def _soft(values: Floats, slope: float) -> Floats:
    out: Floats = np.clip(values * _f(slope) + _f(0.5), 0, 1)
    return out
