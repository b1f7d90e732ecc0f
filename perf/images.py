"""A folder of small captioned images, made on the spot."""

from pathlib import Path

import numpy as np
from PIL import Image


def captioned(folder: Path, count: int, side: int = 64) -> None:
    """Write `count` different images with a caption beside each."""
    noise = np.random.default_rng(0)
    for i in range(count):
        pixels = noise.integers(0, 255, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:06d}.jpg", quality=80)
        (folder / f"{i:06d}.txt").write_text(f"Picture number {i}. It shows a red, a blue and a green object. " * 4)
