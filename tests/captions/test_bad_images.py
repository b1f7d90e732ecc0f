"""Every kind of file that cannot be a picture becomes a drop with its own reason, and the next one is read."""

import contextlib
import io
import os
import re
import struct
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lpt.captions import pixels
from lpt.captions.prepare import check, prepare
from lpt.models.base import Image as Prepared
from lpt.records import Drop
from lpt.settings import CaptionSettings
from tests.captions.files import encoded, kept, noisy, plain, png, put, reasons, take

JPEG = encoded(noisy(), "JPEG")
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")


def bomb(width: int, height: int) -> bytes:
    return png(width, height, 8, 2, b"\0" * 100)


BAD = {
    "empty": (b"", "empty-image"),
    "text": (b"<html>404 Not Found</html>", "not-an-image"),
    "random": (bytes(range(256)) * 4, "not-an-image"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\nshowpage\n", "not-an-image"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "not-an-image"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64, "broken-image"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "broken-image"),
    "a JPEG's head": (JPEG[:10], "broken-image"),
    "half a PNG": (encoded(noisy())[:3000], "broken-image"),
    "half a GIF": (encoded(noisy(), "GIF")[:1500], "broken-image"),
    "half a WebP": (encoded(noisy(), "WEBP")[:1000], "broken-image"),
    "half a BMP": (encoded(noisy(), "BMP")[:2000], "broken-image"),
    "half a TIFF": (encoded(noisy(), "TIFF")[:2000], "broken-image"),
    "PNG with a flipped bit": (encoded(noisy())[:200] + b"\xff" + encoded(noisy())[201:], "broken-image"),
    "zeros to the end": (JPEG[:300] + b"\0" * 50, "broken-image"),
    "a bomb": (bomb(60_000, 60_000), "too-many-pixels"),
    "what Pillow only warns of": (bomb(10_000, 10_000), "too-many-pixels"),
    "a line": (encoded(plain(size=(4000, 7))), "image-too-small"),
    "a dot": (encoded(plain(size=(1, 1))), "image-too-small"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_is_a_drop_with_its_reason(tmp_path: Path, kind: str):
    data, reason = BAD[kind]
    put(tmp_path, "a.jpg", data)
    put(tmp_path, "b.jpg", JPEG, "The next one.")
    items = take("folder", tmp_path)
    assert reasons(items) == [reason]
    assert [caption.source_id for caption in kept(items)] == ["b.jpg"]
    found = check(tmp_path / "a.jpg")
    assert found
    assert found[0] == reason


@pytest.mark.parametrize("kind", BAD)
def test_what_is_told_of_it_is_the_same_everywhere(tmp_path: Path, kind: str):
    drops = []
    for place in ("here", "there/and/elsewhere"):
        put(tmp_path / place, "sub/a.jpg", BAD[kind][0])
        (drop,) = take("folder", tmp_path / place)
        assert isinstance(drop, Drop)
        assert str(tmp_path) not in drop.detail
        assert "0x" not in drop.detail
        assert drop.detail.startswith("sub/a.jpg: ")
        drops.append(drop)
    assert drops[0] == drops[1]


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_read_and_found_out_when_it_is_cut(kind: str):
    data = encoded(noisy((40, 30)), kind)
    assert pixels.fault_of(data) is None
    for share in (0.1, 0.5, 0.9):
        fault = pixels.fault_of(data[: int(len(data) * share)])
        assert fault, share
        assert fault.reason in {"broken-image", "not-an-image"}


def test_a_large_jpeg_that_is_cut_near_its_end_is_found_out():
    data = encoded(noisy((800, 600)), "JPEG")
    assert pixels.fault_of(data) is None
    assert pixels.fault_of(data[:-2000])


def test_a_missing_file(tmp_path: Path):
    assert check(tmp_path / "no.jpg") == ("missing-image", "there is no such file")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put(tmp_path, "a.jpg", JPEG)
    put(tmp_path, "b.jpg", JPEG)
    opened = Path.open

    def refuse(path: Path, *args, **kwargs):
        if path.name == "a.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    items = take("folder", tmp_path)
    (drop,) = [item for item in items if isinstance(item, Drop)]
    assert (drop.reason, drop.detail) == ("unreadable-image", "a.jpg: Permission denied")
    assert len(items) == 2


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text("A pipe.")
    assert reasons(take("folder", tmp_path)) == ["unreadable-image"]


def test_a_file_of_too_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lpt.captions.examine.MAX_BYTES", 100)
    put(tmp_path, "a.jpg", JPEG)
    assert reasons(take("folder", tmp_path)) == ["image-too-large"]


def test_pillows_own_limit_may_be_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    fault = pixels.fault_of(bomb(60_000, 60_000))
    assert fault
    assert fault.reason == "too-many-pixels"
    (tmp_path / "bomb.png").write_bytes(bomb(60_000, 60_000))
    with pytest.raises(ValueError, match="pixels"):
        prepare(tmp_path / "bomb.png", "hash", CaptionSettings())


def test_odd_exif_harms_nothing():
    garbage = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(range(100))
    for exif in (garbage, b"Exif\0\0MM\0*" + b"\xff" * 40, b"Exif\0\0"):
        segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
        assert pixels.fault_of(JPEG[:2] + segment + JPEG[2:]) is None


def test_warnings_of_pillow_stay_inside_and_those_of_others_pass():
    before = list(warnings.filters)
    with pixels.quiet(), pixels.quiet():
        warnings.warn_explicit("odd", UserWarning, "x.py", 1, module="PIL.TiffImagePlugin")
        with pytest.raises(UserWarning):
            warnings.warn_explicit("mine", UserWarning, "x.py", 1, module="PILLAR")
    assert list(warnings.filters) == before
    with pytest.raises(UserWarning):
        warnings.warn_explicit("odd", UserWarning, "x.py", 1, module="PIL.TiffImagePlugin")


heads = st.sampled_from([b"", *(encoded(noisy((16, 16)), kind)[:60] for kind in FORMATS)])


def holds(data: bytes, folder: Path) -> None:
    """Whatever the bytes: what is found good can be prepared, and nothing is raised but by contract."""
    fault = pixels.fault_of(data)
    path = folder / "any"
    path.write_bytes(data)
    made: Prepared | None = None
    with contextlib.suppress(ValueError):
        made = prepare(path, "hash", CaptionSettings())
    assert made or fault
    if made:
        with Image.open(io.BytesIO(made.data)) as image:
            assert image.mode == "RGB"
            assert image.size == (made.width, made.height)


@given(heads, st.binary(max_size=400))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, head: bytes, rest: bytes):
    holds(head + rest, tmp_path_factory.getbasetemp())


SOUND = [
    *(encoded(noisy((24, 16)), kind) for kind in FORMATS),
    encoded(noisy((24, 16)).convert("P"), "PNG", transparency=3),
    encoded(noisy((24, 16)).convert("CMYK"), "JPEG"),
    encoded(noisy((24, 16)).convert("RGBA"), "PNG"),
    encoded(noisy((24, 16)).convert("L").convert("I;16"), "PNG"),
    encoded(noisy((24, 16)).convert("1"), "TIFF"),
    encoded(plain((50, 9, 9), mode="LAB"), "TIFF"),
]


@given(
    st.sampled_from(SOUND), st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6)
)
def test_any_damage(tmp_path_factory: pytest.TempPathFactory, data: bytes, hits: list[tuple[float, int]]):
    damaged = bytearray(data)
    for where, value in hits:
        damaged[int(where * len(data))] = value
    holds(bytes(damaged), tmp_path_factory.getbasetemp())


def test_the_reasons_are_words_for_counting():
    for _, reason in BAD.values():
        assert re.fullmatch(r"[a-z0-9-]+", reason)
