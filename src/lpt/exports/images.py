"""The images of a run's sets, each once, beside the sets: under a safe name, as large as the student saw them."""

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

import msgspec
import polars as pl

from lpt.captions.prepare import prepare
from lpt.errors import StoreError, UserError
from lpt.exports.rows import put
from lpt.records import digest
from lpt.settings import CaptionSettings
from lpt.store.run import Run

Progress: TypeAlias = Callable[[int, int], None]
Missing: TypeAlias = Literal["image-missing", "image-unreadable", "image-outside"]

FOLDER = "images"
_SAFE = re.compile(r"[0-9A-Za-z_-]{1,64}")
_AT_ONCE = 64


class Images(msgspec.Struct, frozen=True, kw_only=True):
    """Where a set's rows find their images."""

    written: int
    """Image files that were written."""
    named: dict[str, str]
    """Images without a file that are referred to by their recorded names."""
    missing: dict[str, Missing]
    """Images without a file, and why: no row can be written for them."""

    def reference(self, image: str) -> str | None:
        """An image's path relative to the export, with forward slashes; None when it has no file."""
        if image in self.missing:
            return None
        return self.named.get(image) or file_name(image)


def file_name(image: str) -> str:
    """The path under which an image is exported: made from its hash, whatever the source called it."""
    return f"{FOLDER}/{image if _SAFE.fullmatch(image) else digest('image', image)}.jpg"


def copy_images(
    run: Run,
    out: Path,
    *,
    allow_missing: bool = False,
    progress: Progress | None = None,
    tables: Sequence[str] = ("sft", "preferences"),
) -> Images:
    """Write every image that the run's sets use into `out/images`, sized as the recipe says.

    Nothing is read from outside the run's images root, whatever a recorded path or a link says.

    Args:
        run: the run.
        out: the export's folder.
        allow_missing: let rows refer to an image that has no file by its recorded relative name.
        progress: is told how many are done, of how many.
        tables: whose images they are.

    Raises:
        UserError: there is not one image file, and `allow_missing` is off.
        StoreError: the disk failed.
    """
    used = _used(run, tables)
    root = run.images.resolve()
    folder = out / FOLDER
    written = 0
    named: dict[str, str] = {}
    missing: dict[str, Missing] = {}
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:

        def one(row: tuple[str, str | None]) -> tuple[str, str | None, Missing | None]:
            image, path = row
            return image, path, _copy(root, path, image, folder, run.recipe.captions)

        rows = used.iter_rows()
        done = 0
        for chunk in iter(lambda: list(islice(rows, _AT_ONCE)), []):
            for image, path, why in pool.map(one, chunk):
                if why is None:
                    written += 1
                elif allow_missing and path and why == "image-missing":
                    named[image] = path
                else:
                    missing[image] = why
                done += 1
                if progress:
                    progress(done, used.height)
    if used.height and not written and not named:
        why = next(iter(missing.values()))
        raise UserError(
            f"none of the {used.height} images can be exported ({why}): they are looked for in {run.images}. "
            "Say where they are (captions.images), or write the sets without them: --allow-missing-images"
        )
    return Images(written=written, named=named, missing=missing)


def _used(run: Run, tables: Sequence[str]) -> pl.DataFrame:
    """The images of these tables with their recorded paths, by hash."""
    paths = run.table("captions").select("image", "path").unique("image", keep="first", maintain_order=True)
    return (
        pl.concat([run.table(table).select("image") for table in tables])
        .unique()
        .join(paths, on="image", how="left")
        .sort("image")
        .collect()
    )


def _copy(root: Path, path: str | None, image: str, folder: Path, settings: CaptionSettings) -> Missing | None:
    if not path:
        return "image-missing"
    source = inside(root, path)
    if source is None:
        return "image-outside"
    if not source.is_file():
        return "image-missing"
    try:
        data = prepare(source, image, settings).data
    except (OSError, ValueError):
        return "image-unreadable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} could not be made: {error.strerror or error}") from error
    put(folder.parent / file_name(image), data)
    return None


def inside(root: Path, path: str) -> Path | None:
    """The file that a recorded path means, with links followed; None when that is not inside `root`."""
    recorded = PurePosixPath(path.replace("\\", "/"))
    if "\0" in path or recorded.is_absolute() or ".." in recorded.parts:
        return None
    try:
        found = (root / path).resolve()
    except (OSError, RuntimeError):  # a link that leads to itself
        return None
    return found if found.is_relative_to(root) else None
