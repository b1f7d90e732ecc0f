"""What stands behind and beneath the objects of a rich scene: six grounds, each with its own backdrop."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Color = tuple[float, float, float]


def hashed(xs: npt.NDArray[np.int64], ys: npt.NDArray[np.int64], salt: int) -> Floats:
    """White noise of whole-number coordinates, 0 to 1, from integer arithmetic alone."""
    mixed = (xs * 374761393 + ys * 668265263 + salt * 2147483647) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 1274126177) & 0xFFFFFFFF
    mixed ^= mixed >> 16
    out: Floats = (mixed & 0xFFFF).astype(np.float32) / np.float32(65535)
    return out


def smooth(xs: Floats, ys: Floats, salt: int) -> Floats:
    """Value noise, 0 to 1, one cell to a unit of the coordinates."""
    x0, y0 = np.floor(xs), np.floor(ys)
    fx, fy = xs - x0, ys - y0
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    ix, iy = x0.astype(np.int64), y0.astype(np.int64)
    top = hashed(ix, iy, salt) * (1 - fx) + hashed(ix + 1, iy, salt) * fx
    low = hashed(ix, iy + 1, salt) * (1 - fx) + hashed(ix + 1, iy + 1, salt) * fx
    return (top * (1 - fy) + low * fy).astype(np.float32)


def blend(low: Color | Floats, high: Color | Floats, share: Floats) -> Floats:
    """Between two colors (or pictures) by a share of shape (h, w); returns (h, w, 3)."""
    weight = share[..., None]
    return np.asarray(low, np.float32) * (1 - weight) + np.asarray(high, np.float32) * weight


def step(values: Floats, width: float = 1.0) -> Floats:
    """0 below, 1 above zero, with a ramp of the given width between."""
    out: Floats = np.clip(values / np.float32(width) + np.float32(0.5), 0, 1)
    return out


def wave(values: Floats) -> Floats:
    """Distance to the nearest whole number, 0 to 0.5."""
    out: Floats = np.abs(values - np.floor(values + np.float32(0.5)))
    return out


# Every painter: x and y in picture pixels (y down), the horizon's y, a salt -> (h, w, 3) in 0..1.
Painter = Callable[[Floats, Floats, float, int], Floats]


def _far(y: Floats, horizon: float, height: float = 336.0) -> Floats:
    """How far down the ground a pixel lies: 0 at the horizon, 1 at the lower edge."""
    out: Floats = np.clip((y - horizon) / (height - horizon), 0, 1)
    return out


def _wood(x: Floats, y: Floats, horizon: float, salt: int) -> Floats:
    far = _far(y, horizon)
    # Boards run to a vanishing point above the horizon.
    fan = (x - 224) / (0.55 + 0.75 * far)
    board = np.floor(fan / 58)
    tone = hashed(board.astype(np.int64), board.astype(np.int64) * 0, salt)
    grain = smooth(fan / 5, far * 9 + tone * 40, salt + 1)
    ground = blend((0.60, 0.43, 0.28), (0.74, 0.56, 0.38), tone * 0.5 + grain * 0.4)
    ground *= (1 - 0.35 * step(0.035 - wave(fan / 58), 0.03))[..., None] * (0.86 + 0.18 * far)[..., None]
    wall = blend((0.86, 0.84, 0.78), (0.74, 0.74, 0.72), np.clip(1 - y / horizon, 0, 1))
    wall *= (1 - 0.1 * step(y - horizon + 9, 1.5))[..., None] * (1 - 0.10 * step(1.5 - np.abs(y - horizon + 9)))[
        ..., None
    ]
    return blend(wall, ground, step(y - horizon))


def _sand(x: Floats, y: Floats, horizon: float, salt: int) -> Floats:
    far = _far(y, horizon)
    ripple = smooth(x / (26 + 20 * far), (y - horizon) / (2.5 + 7 * far) + x / 90, salt)
    ground = blend((0.86, 0.76, 0.56), (0.94, 0.86, 0.68), ripple * 0.8 + 0.2 * far)
    sea_top = horizon - 24
    sky = blend((0.86, 0.93, 0.97), (0.50, 0.72, 0.90), np.clip(1 - y / sea_top, 0, 1))
    cloud = step(smooth(x / 70, y / 22, salt + 3) * 0.65 + smooth(x / 28, y / 10, salt + 4) * 0.35 - 0.62, 0.25)
    sky = blend(sky, (0.98, 0.98, 0.97), cloud * 0.7)
    glitter = smooth(x / 14, y / 1.8, salt + 5)
    sea = blend((0.20, 0.50, 0.66), (0.42, 0.70, 0.78), glitter * 0.5 + np.clip((y - sea_top) / 40, 0, 1) * 0.5)
    foam = step(2.2 - np.abs(y - horizon + 1 + 3 * (smooth(x / 40, y * 0, salt + 6) - 0.5)), 1.5)
    picture = blend(blend(sky, sea, step(y - sea_top)), ground, step(y - horizon))
    return blend(picture, (0.97, 0.98, 0.98), foam * 0.85)


def _grass(x: Floats, y: Floats, horizon: float, salt: int) -> Floats:
    far = _far(y, horizon)
    blades = smooth(x / (1.6 + 2 * far), y / (5 + 12 * far), salt) * 0.6 + smooth(x / 30, y / 12, salt + 1) * 0.4
    ground = blend((0.34, 0.50, 0.18), (0.60, 0.74, 0.32), blades * 0.85 + 0.1 * far)
    sky = blend((0.88, 0.94, 0.97), (0.46, 0.69, 0.92), np.clip(1 - y / horizon, 0, 1))
    cloud = step(smooth(x / 60, y / 20, salt + 3) * 0.65 + smooth(x / 22, y / 9, salt + 4) * 0.35 - 0.6, 0.22)
    picture = blend(sky, (0.99, 0.99, 0.98), cloud * 0.75)
    for layer, (drop, color) in enumerate(((44, (0.62, 0.76, 0.72)), (22, (0.50, 0.68, 0.50)))):
        ridge = horizon - drop * (0.35 + 0.9 * smooth(x / 105 + layer * 7.3, y * 0, salt + 7 + layer))
        picture = blend(picture, color, step(y - ridge, 1.5))
    return blend(picture, ground, step(y - horizon))


def _tiles(x: Floats, y: Floats, horizon: float, salt: int) -> Floats:
    far = _far(y, horizon)
    fan, deep = (x - 224) / (0.5 + 0.9 * far) / 62, 5.2 * (1 - 1 / (1 + 1.1 * far)) * 2
    tone = hashed(np.floor(fan).astype(np.int64), np.floor(deep).astype(np.int64), salt)
    odd = ((np.floor(fan) + np.floor(deep)) % 2).astype(np.float32)
    ground = blend((0.80, 0.80, 0.78), (0.63, 0.68, 0.72), odd * 0.85 + tone * 0.15)
    joint = np.maximum(step(0.022 - wave(fan), 0.03), step(0.03 - wave(deep), 0.04))
    ground = blend(ground, (0.52, 0.54, 0.56), joint * 0.7)
    course = np.floor(y / 13)
    brick = np.floor(x / 30 + (course % 2) * 0.5)
    shade = hashed(brick.astype(np.int64), course.astype(np.int64), salt + 2)
    wall = blend((0.58, 0.33, 0.26), (0.74, 0.47, 0.38), shade * 0.7 + smooth(x / 4, y / 4, salt + 3) * 0.3)
    mortar = np.maximum(step(0.06 - wave(y / 13), 0.06), step(0.028 - wave(x / 30 + (course % 2) * 0.5), 0.03))
    wall = blend(wall, (0.78, 0.74, 0.69), mortar * 0.8)
    wall = blend(wall, (0.90, 0.88, 0.84), step(3.5 - np.abs(y - horizon + 4)))
    return blend(wall, ground, step(y - horizon))


def _snow(x: Floats, y: Floats, horizon: float, salt: int) -> Floats:
    far = _far(y, horizon)
    drift = smooth(x / (60 + 60 * far), y / (9 + 18 * far), salt)
    ground = blend((0.76, 0.82, 0.92), (0.95, 0.96, 0.98), drift * 0.75 + 0.25 * far)
    up = np.clip(1 - y / horizon, 0, 1)
    sky = blend(
        blend((0.98, 0.80, 0.70), (0.80, 0.70, 0.82), np.clip(up * 2, 0, 1)),
        (0.48, 0.52, 0.74),
        np.clip(up * 2 - 1, 0, 1),
    )
    for layer, (space, color) in enumerate(((23, (0.52, 0.56, 0.70)), (33, (0.30, 0.40, 0.50)))):
        tree = np.floor(x / space + layer * 0.4)
        tall = (22 + 26 * hashed(tree.astype(np.int64), tree.astype(np.int64) * 0 + layer, salt + 9)) * (
            0.9 + 0.2 * layer
        )
        height = np.maximum(horizon - y, 0)
        tier = wave(height / 9) * 3.2
        half = (1 - height / tall) * space * 0.52 - tier
        inside = step(half - wave(x / space + layer * 0.4 - 0.5) * space, 1.5) * step(tall - height)
        sky = blend(sky, color, inside)
    return blend(sky, ground, step(y - horizon))


def _carpet(x: Floats, y: Floats, horizon: float, salt: int) -> Floats:
    far = _far(y, horizon)
    pile = hashed(np.floor(x).astype(np.int64), np.floor(y / 1.5).astype(np.int64), salt)
    ground = blend((0.30, 0.22, 0.34), (0.40, 0.30, 0.44), pile * 0.4 + far * 0.6)
    ground = blend(ground, (0.72, 0.60, 0.42), step(1.6 - np.abs(y - horizon - 12)) * 0.8)
    pleat = wave(x / 37 + 0.35 * smooth(x / 90, y / 300, salt + 2)) * 2
    curtain = blend((0.36, 0.40, 0.48), (0.60, 0.64, 0.70), pleat * pleat * (3 - 2 * pleat))
    curtain *= (0.80 + 0.2 * np.clip(y / horizon, 0, 1))[..., None]
    return blend(curtain, ground, step(y - horizon))


PAINTERS: Final[dict[str, Painter]] = {
    "wooden boards": _wood,
    "sand": _sand,
    "grass": _grass,
    "tiles": _tiles,
    "snow": _snow,
    "carpet": _carpet,
}
