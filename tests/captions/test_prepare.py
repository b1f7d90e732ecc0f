"""What is sent shows what the file shows: upright, in its colors, no larger than it may be."""

import io
import warnings
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lpt.captions.prepare import prepare, target
from lpt.models.base import Image as Prepared
from lpt.settings import CaptionSettings
from tests.captions.files import cornered, encoded, noisy, plain, png, turned

WHOLE = CaptionSettings(max_pixels=0, quality=95)


def sent(folder: Path, data: bytes, settings: CaptionSettings = WHOLE) -> Image.Image:
    """The picture that a model would see."""
    return seen(made(folder, data, settings))


def made(folder: Path, data: bytes, settings: CaptionSettings = WHOLE, image_hash: str = "hash") -> Prepared:
    path = folder / "image"
    path.write_bytes(data)
    return prepare(path, image_hash, settings)


def seen(image: Prepared) -> Image.Image:
    picture = Image.open(io.BytesIO(image.data))
    picture.load()
    assert picture.format == "JPEG"
    assert image.media_type == "image/jpeg"
    assert picture.mode == "RGB"
    assert picture.size == (image.width, image.height)
    return picture


def near(picture: Image.Image, at: tuple[int, int], color: tuple[int, int, int], by: int = 6) -> bool:
    found = picture.getpixel(at)
    assert isinstance(found, tuple)
    return all(abs(one - other) <= by for one, other in zip(found, color, strict=True))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("settings", [WHOLE, CaptionSettings(max_pixels=24 * 16)], ids=["whole", "downsized"])
def test_a_picture_is_put_upright(tmp_path: Path, orientation: int, settings: CaptionSettings):
    picture = sent(tmp_path, turned(orientation), settings)
    width, height = picture.size
    assert (width, height) == ((48, 32) if settings is WHOLE else (24, 16))
    assert near(picture, (width // 8, height // 8), (255, 0, 0), 30)
    for corner in [(width * 7 // 8, height // 8), (width // 8, height * 7 // 8), (width * 7 // 8, height * 7 // 8)]:
        assert near(picture, corner, (255, 255, 255), 30)


def test_nothing_but_the_picture_is_sent(tmp_path: Path):
    exif = Image.Exif()
    exif[0x010F] = "Maker of the camera"
    exif[0x0112] = 6
    data = encoded(noisy(), "JPEG", exif=exif, comment=b"a secret note", icc_profile=b"a profile" * 20)
    image = made(tmp_path, data)
    for secret in (b"Maker", b"secret", b"profile", b"Exif"):
        assert secret in data
        assert secret not in image.data
    assert not Image.open(io.BytesIO(image.data)).getexif()


@pytest.mark.parametrize(("value", "shown"), [(0, 0), (257, 1), (25700, 100), (32768, 128), (65535, 255)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path, kind: str, value: int, shown: int):
    data = encoded(Image.fromarray(np.full((16, 16), value, np.uint16)), kind)
    assert near(sent(tmp_path, data), (8, 8), (shown,) * 3, 2)


def test_sixteen_bits_a_channel(tmp_path: Path):
    row = b"\0" + np.array([40000, 20000, 300] * 16, ">u2").tobytes()
    assert near(sent(tmp_path, png(16, 16, 16, 2, row * 16)), (8, 8), (156, 78, 1))
    # The same color, declared transparent: nothing of it is left.
    key = (b"tRNS", np.array([40000, 20000, 300], ">u2").tobytes())
    assert near(sent(tmp_path, png(16, 16, 16, 2, row * 16, key)), (8, 8), (255, 255, 255))


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.linspace(0, 1, 256, dtype=np.float32), (0, 255)),
        (np.linspace(0, 255, 256, dtype=np.float32), (0, 255)),
        (np.linspace(-7, 9000, 256, dtype=np.float32), (0, 255)),
        (np.full(256, np.nan, np.float32), (0, 0)),
        (np.linspace(0, 65535, 256).astype(np.int32), (0, 255)),
        (np.linspace(-(2**30), 2**30, 256).astype(np.int32), (0, 255)),
    ],
    ids=["to one", "to 255", "any", "NaN", "16 of 32", "32"],
)
def test_fractions_and_long_numbers(tmp_path: Path, values: np.ndarray, shown: tuple[int, int]):
    data = encoded(Image.fromarray(np.tile(values, (16, 1))), "TIFF")
    picture = sent(tmp_path, data)
    assert near(picture, (0, 8), (shown[0],) * 3)
    assert near(picture, (255, 8), (shown[1],) * 3)


@pytest.mark.parametrize("color", [(200, 30, 30), (20, 160, 40), (250, 250, 250), (10, 10, 60)])
def test_cmyk_has_its_colors(tmp_path: Path, color: tuple[int, int, int]):
    data = encoded(plain(color).convert("CMYK"), "JPEG", quality=95)
    assert near(sent(tmp_path, data), (8, 8), color, 12)


WHITE, RED = (255, 255, 255), (200, 30, 30)


def see_through(mode: str) -> bytes:
    """Red on the left, fully transparent on the right."""
    image = Image.new("RGBA", (32, 16), (200, 30, 30, 255))
    image.paste((0, 0, 0, 0), (16, 0, 32, 16))
    if mode == "P":
        palette = Image.new("P", (32, 16), 0)
        palette.putpalette([200, 30, 30, 0, 0, 0])
        palette.paste(1, (16, 0, 32, 16))
        return encoded(palette, "PNG", transparency=1)
    if mode == "P, alpha each":
        return encoded(image.quantize(8), "PNG")
    if mode == "RGB with a key":
        return encoded(image.convert("RGB"), "PNG", transparency=(0, 0, 0))
    return encoded(image.convert(mode), "PNG" if mode != "WEBP" else "WEBP")


@pytest.mark.parametrize("mode", ["RGBA", "P", "P, alpha each", "RGB with a key", "LA"])
def test_what_is_transparent_is_white(tmp_path: Path, mode: str):
    picture = sent(tmp_path, see_through(mode))
    assert near(picture, (27, 8), WHITE)
    assert near(picture, (4, 8), (81, 81, 81) if mode == "LA" else RED)


def test_half_transparent_is_half_white(tmp_path: Path):
    data = encoded(Image.new("RGBA", (16, 16), (0, 0, 0, 128)), "PNG")
    assert near(sent(tmp_path, data), (8, 8), (127, 127, 127))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_picture_is_shown(tmp_path: Path, kind: str):
    frames = [plain(color) for color in (RED, (0, 200, 0), (0, 0, 200))]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert near(sent(tmp_path, data), (8, 8), RED, 12)


@pytest.mark.parametrize(("mode", "shown"), [("1", 255), ("L", 180), ("P", 180)])
def test_gray_and_few_colors(tmp_path: Path, mode: str, shown: int):
    image = plain(180, mode="L").point(lambda value: 255 if mode == "1" else value).convert(mode)
    assert near(sent(tmp_path, encoded(image, "PNG")), (8, 8), (shown,) * 3)


limits = st.one_of(st.just(0), st.integers(1, 3_000_000))


@given(st.integers(1, 20_000), st.integers(1, 20_000), limits, st.one_of(st.just(0), st.integers(1, 5_000)))
def test_the_arithmetic_of_downsizing(width: int, height: int, max_pixels: int, longest_side: int):
    w, h = target(width, height, max_pixels, longest_side)
    assert 1 <= w <= width
    assert 1 <= h <= height
    assert not max_pixels or w * h <= max_pixels
    assert not longest_side or max(w, h) <= longest_side
    if (not max_pixels or width * height <= max_pixels) and (
        not longest_side or max(width, height) <= longest_side
    ):
        assert (w, h) == (width, height)
    elif min(w, h) > 1:
        # Each side is the right one, rounded down: one pixel more would be too much.
        scale = Fraction(longest_side or 10**9, max(width, height))
        for side, whole in ((w, width), (h, height)):
            fits_area = not max_pixels or Fraction(side + 1, whole) ** 2 * width * height <= max_pixels
            assert side <= whole * scale
            assert not fits_area or side + 1 > whole * scale
    assert target(height, width, max_pixels, longest_side) == (h, w)


def test_as_much_is_sent_as_may_be():
    assert target(2048, 1536, 512 * 512, 0) == (591, 443)
    assert target(2000, 1000, 0, 512) == (512, 256)
    assert target(512, 512, 512 * 512, 512) == (512, 512)
    assert [target(2001 + n, 1000, 0, 512)[0] for n in range(500)] == [512] * 500
    assert target(1, 1_000_000, 512 * 512, 0) == (1, 65_500)
    assert target(70_000, 100, 0, 0) == (65_500, 93)


def test_the_pixels_of_a_downsized_picture_are_those_of_a_good_filter(tmp_path: Path):
    # Broad stripes stay, and stripes finer than a pixel become gray: no aliasing.
    pixels = np.zeros((1200, 1600, 3), np.uint8)
    pixels[:, :800] = 255
    pixels[:, 800::2] = 255
    for kind in ("PNG", "JPEG"):
        picture = sent(tmp_path, encoded(Image.fromarray(pixels), kind), CaptionSettings(max_pixels=200 * 150))
        assert picture.size == (200, 150)
        assert near(picture, (50, 75), WHITE)
        assert near(picture, (150, 75), (128, 128, 128), 12)


def test_the_key_says_what_is_sent(tmp_path: Path):
    data = encoded(cornered((400, 200)), "PNG")
    small = CaptionSettings(max_pixels=100 * 50)
    key = made(tmp_path, data, small).key
    assert key == made(tmp_path, data, small).key
    assert key == made(tmp_path, data, CaptionSettings(max_pixels=0, longest_side=100)).key, "the same size"
    assert key == made(tmp_path, encoded(cornered((400, 200)), "BMP"), small).key, "the hash stands for the file"
    others = [
        made(tmp_path, data, small, "other").key,
        made(tmp_path, data, CaptionSettings(max_pixels=200 * 100)).key,
        made(tmp_path, data, CaptionSettings(max_pixels=100 * 50, quality=80)).key,
    ]
    assert len({key, *others}) == 4


def test_the_key_is_the_same_in_years(tmp_path: Path):
    # If this fails, answers in existing ledgers no longer count. That is only right when other pixels are sent.
    assert made(tmp_path, encoded(plain())).key == "697114566384bee4b0380bfb322511ba"


def test_quality_matters(tmp_path: Path):
    data = encoded(noisy(), "PNG")
    low, high = (made(tmp_path, data, CaptionSettings(quality=quality)) for quality in (30, 95))
    assert len(low.data) < len(high.data)


@pytest.mark.parametrize("data", [b"", b"nothing", encoded(noisy())[:500], encoded(noisy(), "JPEG")[:1000]])
def test_what_cannot_be_decoded_is_a_value_error_that_names_the_file(tmp_path: Path, data: bytes):
    with pytest.raises(ValueError, match="image cannot be decoded"):
        made(tmp_path, data)


def test_a_file_that_is_gone_is_an_os_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        prepare(tmp_path / "gone.png", "hash", CaptionSettings())


def test_many_threads_at_once_leave_no_warning_and_no_filter_behind(tmp_path: Path):
    # Palette, transparency as bytes: Pillow has something to say of it in some versions; TIFF cut in its tags, too.
    (tmp_path / "palette.png").write_bytes(encoded(noisy().quantize(16), "PNG", transparency=bytes(range(16))))
    (tmp_path / "large.png").write_bytes(encoded(noisy((300, 200)), "PNG"))
    before = list(warnings.filters)
    paths = [tmp_path / name for name in ("palette.png", "large.png")] * 20
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda path: prepare(path, path.name, CaptionSettings()), paths))
    assert len({(image.key, image.data) for image in images}) == 2
    assert list(warnings.filters) == before
