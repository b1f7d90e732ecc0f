"""Image files of every kind, good and bad, made on the spot."""

import io
import json
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lpt.captions.intake import read
from lpt.records import Caption, Drop
from lpt.settings import CaptionColumns, CaptionSettings


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def plain(color: Any = (200, 30, 30), size: tuple[int, int] = (32, 24), mode: str = "RGB") -> Image.Image:
    return Image.new(mode, size, color)


def noisy(size: tuple[int, int] = (64, 48), seed: int = 0) -> Image.Image:
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def cornered(size: tuple[int, int] = (48, 32)) -> Image.Image:
    """White, with a red upper left corner: it shows how a picture was turned."""
    image = Image.new("RGB", size, (255, 255, 255))
    image.paste((255, 0, 0), (0, 0, size[0] // 2, size[1] // 2))
    return image


def turned(orientation: int) -> bytes:
    """A JPEG whose pixels are stored so that, once it is put upright, its upper left corner is red."""
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    image = cornered()
    if undo is not None:
        image = image.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, "JPEG", exif=exif, quality=95)


def png(width: int, height: int, depth: int, kind: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG from its raw rows (each begins with its filter byte), for what Pillow reads but does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


def put(folder: Path, name: str, data: bytes, text: str | None = "A picture.") -> None:
    """An image, with a caption beside it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if text is not None:
        path.with_suffix(".txt").write_text(text)


def listed(folder: Path, rows: Iterable[Any], name: str = "list.jsonl") -> Path:
    """A list; a row that is bytes already stands as it is."""
    path = folder / name
    path.write_bytes(
        b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)
    )
    return path


def take(
    source: str, path: Path | None, *, limit: int | None = None, base: Path | None = None, **settings: Any
) -> list[Caption | Drop]:
    """Read a source to its end."""
    if "columns" in settings:
        settings["columns"] = CaptionColumns(**settings["columns"])
    place = base or path
    assert place
    return list(
        read(
            CaptionSettings(source=source, path=str(path) if path else None, **settings),
            base=place,
            run_images=place / "rendered",
            seed=0,
            validation=0.1,
            limit=limit,
        )
    )


def kept(items: list[Caption | Drop]) -> list[Caption]:
    return [item for item in items if isinstance(item, Caption)]


def reasons(items: list[Caption | Drop]) -> list[str]:
    return [item.reason for item in items if isinstance(item, Drop)]
