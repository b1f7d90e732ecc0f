import io

import pytest
from PIL import Image

from lpt.errors import UserError
from lpt.exports.images import copy_images, file_name, inside
from lpt.settings import CaptionSettings
from tests.exports.runs import caption, example, image_hash, make_run, pair, picture

A, B, C = sorted(image_hash(number) for number in range(3))


def test_each_image_is_written_once_under_its_hash(tmp_path):
    run = make_run(tmp_path / "run", [example(A), example(A, target="other"), example(B)], [pair(A), pair(C)])
    seen = []
    images = copy_images(run, tmp_path / "out", progress=lambda done, of: seen.append((done, of)))
    assert sorted(path.stem for path in (tmp_path / "out/images").iterdir()) == [A, B, C]
    assert images.written == 3
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for image in (A, B, C):
        reference = images.reference(image)
        assert reference
        assert (tmp_path / "out" / reference).is_file()


def test_images_are_as_large_as_the_recipe_says(tmp_path):
    run = make_run(tmp_path / "run", [example(A)], settings=CaptionSettings(max_pixels=64 * 64))
    picture(run, A, size=(400, 300))
    copy_images(run, tmp_path / "out")
    with Image.open(io.BytesIO((tmp_path / "out" / file_name(A)).read_bytes())) as image:
        assert image.format == "JPEG"
        assert 60 * 60 < image.width * image.height <= 64 * 64
        assert image.width / image.height == pytest.approx(4 / 3, abs=0.05)


def test_missing_and_broken_images_are_named_and_the_rest_is_written(tmp_path):
    run = make_run(tmp_path / "run", [example(A), example(B), example(C)])
    (run.images / f"{A}.png").unlink()
    (run.images / f"{B}.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    images = copy_images(run, tmp_path / "out")
    assert images.missing == {A: "image-missing", B: "image-unreadable"}
    assert images.reference(A) is None
    assert images.written == 1


def test_an_image_without_a_caption_is_missing(tmp_path):
    run = make_run(tmp_path / "run", [example(A), example(B)], captions=[caption(B)])
    assert copy_images(run, tmp_path / "out").missing == {A: "image-missing"}


def test_no_image_at_all_is_an_error_that_says_what_to_do(tmp_path):
    run = make_run(tmp_path / "run", [example(A)], pictures=False)
    with pytest.raises(UserError, match="--allow-missing-images"):
        copy_images(run, tmp_path / "out")


def test_recorded_names_stand_in_where_that_is_allowed(tmp_path):
    captions = [caption(A, "docci/images/train_1.jpg"), caption(B, "../../etc/passwd"), caption(C, "/etc/passwd")]
    run = make_run(tmp_path / "run", [example(A), example(B), example(C)], captions=captions, pictures=False)
    images = copy_images(run, tmp_path / "out", allow_missing=True)
    assert images.reference(A) == "docci/images/train_1.jpg"
    assert images.missing == {B: "image-outside", C: "image-outside"}


def test_nothing_outside_the_images_root_is_read(tmp_path):
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8)).save(secret)
    run = make_run(
        tmp_path / "run",
        [example(A), example(B), example(C)],
        captions=[caption(A, "../../secret.png"), caption(B, "link.png"), caption(C)],
    )
    (run.images / "link.png").symlink_to(secret)
    images = copy_images(run, tmp_path / "out")
    assert images.missing == {A: "image-outside", B: "image-outside"}
    assert [path.stem for path in (tmp_path / "out/images").iterdir()] == [C]


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x", "a/../../x", "a\\..\\..\\x", "loop", "nul\0l", "\\\\host\\share"]
)
def test_paths_that_leave_the_root(tmp_path, path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert inside(tmp_path.resolve(), path) in (None, tmp_path.resolve() / "loop")


@pytest.mark.parametrize("image", ["../../x", "a/b", "", "ü", "x" * 100, "nul\0"])
def test_a_strange_hash_makes_a_safe_name(image):
    folder, name = file_name(image).split("/")
    assert folder == "images"
    assert name.removesuffix(".jpg").isalnum()
