"""Image files from strangers, decoded with care: upright RGB pixels, or a reason."""

import contextlib
import functools
import io
import re
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import UnidentifiedImageError
from PIL.Image import Image, Transpose

from lpt.captions.base import Fault

MAX_PIXELS = 89_478_485
"""What Pillow warns of as a possible decompression bomb (a quarter of a GiB as RGB) is an error here."""
MAX_BYTES = 256 * 1024 * 1024
_MANY_PIXELS = 2**24
_LARGE = threading.Lock()
MIN_SIDE = 8
"""Pixels. Nothing can be seen in a narrower image."""

# Only what decodes by itself: Pillow would hand EPS to Ghostscript.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "JPEG2000", "PPM")
# The starts of such files: what begins so and cannot be opened is a broken image, not some other file.
_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51")
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


def fault_of(data: bytes) -> Fault | None:
    """Why the bytes cannot become a picture; None when they can. They are decoded to the end."""
    if not data:
        return Fault("empty-image", "the file is empty")
    with quiet():
        try:
            with opened(data) as image:
                width, height = image.size
                if fault := _unfit(width, height):
                    return fault
                # A JPEG is decoded at an eighth: all of its bytes are read, so that it shows where they end too
                # soon, in a fraction of the time.
                image.draft(None, (max(1, width // 8), max(1, height // 8)))
                load(image)
                upright(rgb(image.crop((0, 0, 1, 1))), orientation(image))
        except Pillow.DecompressionBombError:
            return Fault("too-many-pixels", f"it has more than {MAX_PIXELS:,} pixels")
        except UnidentifiedImageError:
            known = data.startswith(_STARTS) or data[8:12] == b"WEBP" or data[4:8] == b"ftyp"
            return Fault("broken-image" if known else "not-an-image", "no known decoder takes it")
        except Exception:  # noqa: BLE001 (decoders that are fed with strangers' bytes may raise anything)
            return Fault("broken-image", "it is cut short or damaged")
    return None


def _unfit(width: int, height: int) -> Fault | None:
    if width * height > MAX_PIXELS:
        return Fault("too-many-pixels", f"{width} x {height} is more than {MAX_PIXELS:,} pixels")
    if min(width, height) < MIN_SIDE:
        return Fault("image-too-small", f"{width} x {height}: a side has fewer than {MIN_SIDE} pixels")
    return None


def opened(data: bytes) -> Image:
    """Read an image's header; the first picture, where there are several. Call it while `quiet`."""
    return Pillow.open(io.BytesIO(data), formats=_formats())


@functools.cache
def _formats() -> tuple[str, ...]:
    Pillow.init()
    return tuple(name for name in _FORMATS if name in Pillow.OPEN)  # AVIF depends on how Pillow was built


def load(image: Image) -> None:
    """Decode an image; large ones one after the other. A file of a hundred bytes may claim a gigabyte's worth."""
    with _LARGE if image.width * image.height > _MANY_PIXELS else contextlib.nullcontext():
        image.load()


def orientation(image: Image) -> int:
    """How the camera was held (EXIF 0x0112); 1 where that cannot be read. To be called after loading."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 (EXIF may be any bytes; the picture is none the worse for it)
        return 1
    return value if value in _UPRIGHT else 1


def upright(image: Image, turned: int) -> Image:
    """The picture as the camera saw it."""
    return image.transpose(_UPRIGHT[turned]) if turned in _UPRIGHT else image


def rgb(image: Image) -> Image:
    """A loaded picture as RGB: what is transparent is white, deep gray is scaled and not clipped."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode[0] in "IF":
        return _gray(image).convert("RGB")
    if image.has_transparency_data:
        image = _with_alpha(image)
        white = Pillow.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")


def _with_alpha(image: Image) -> Image:
    key = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:
        # 16 bits a channel: Pillow keeps the upper 8 of the pixels, but all 16 of the transparent color.
        image = image.copy()
        image.info["transparency"] = tuple(channel >> 8 for channel in key)
    if image.mode in {"La", "PA"}:
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    return image.convert("RGBA")


def _gray(image: Image) -> Image:
    """Gray of 16 or 32 bits, or of fractions, in 8 bits.

    16 bits and fractions from 0 to 1 have a known range; anything else is stretched from its least to its greatest
    value.
    """
    values: Any = np.nan_to_num(np.asarray(image, np.float64))
    least, most = float(values.min()), float(values.max())
    whole = image.mode.startswith("I")
    if least >= 0 and most <= (65535 if whole else 1):
        least, most = 0.0, 65535.0 if whole else 1.0
    elif not whole and least >= 0 and most <= 255:
        least, most = 0.0, 255.0
    scaled = (values - least) * (255 / max(most - least, 1e-300))
    return Pillow.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


# --- Pillow's warnings -------------------------------------------------------------------------------------------

_FILTER = ("ignore", None, Warning, re.compile(r"PIL(\.|$)"), 0)
_LOCK = threading.Lock()
_inside = 0


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow's warnings about strangers' files (odd EXIF, many pixels) from anyone's log; safe in threads.

    `warnings.catch_warnings` restores what it found, and so undoes what another thread has set up meanwhile. One
    filter, which is put in by the first who comes and taken out by the last who goes, has no such memory.
    """
    global _inside  # noqa: PLW0603 (the filters are global, too)
    filters: Any = warnings.filters
    with _LOCK:
        if _inside == 0:
            filters.insert(0, _FILTER)
        _inside += 1
    try:
        yield
    finally:
        filters = warnings.filters
        with _LOCK:
            _inside -= 1
            if _inside == 0:
                with contextlib.suppress(ValueError):
                    filters.remove(_FILTER)
