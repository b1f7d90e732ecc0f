"""For the Hugging Face hub, and for `datasets.load_dataset(FOLDER, "sft_long")`: Parquet with the images inside.

A configuration a set, a split a side of the images, and a dataset card that says how it was made. Nothing of
`datasets` is needed to write it; pushing it wants `huggingface_hub` (extra: `hub`) and a token of the user's own.
"""

import contextlib
import importlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from lpt.errors import UserError
from lpt.exports.base import SPLITS, Exported, Rows, make_room, walk
from lpt.exports.card import Counted, card
from lpt.exports.images import Progress
from lpt.exports.parquet import IMAGE, ParquetFiles, Picture, pictures, schema
from lpt.exports.rows import put
from lpt.exports.turns import Choice, Turn
from lpt.records import Example, Pair
from lpt.store.run import Run

INSTALL = 'pip install "long-perceptual-thoughts[hub]"'

_SHARD_BYTES = 480 << 20
_REPO = re.compile(r"\w[\w.-]{0,95}(?:/\w[\w.-]{0,95})?", re.ASCII)
_SHARD = re.compile(r"(?:sft_[\w-]+|preferences)/(?:train|validation)-\d{5}\.parquet", re.ASCII)
_TEXT = pa.string()
_SFT = schema(
    image=IMAGE,
    **dict.fromkeys(
        ["system", "prompt", "prefix", "target", "category", "cue", "id", "image_id", "question_id", "source"],
        _TEXT,
    ),
)
_PREFERENCES = schema(
    image=IMAGE,
    **dict.fromkeys(
        [
            *["system", "prompt", "shared", "chosen", "rejected", "category", "id", "image_id", "question_id"],
            *["chosen_source", "rejected_source"],
        ],
        _TEXT,
    ),
)


def export(
    run: Run,
    out: Path,
    *,
    licence: str = "",
    push: str = "",
    funnel: Callable[[Run], Sequence[Counted]] | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write a run's sets as a folder that the Hugging Face hub and `datasets` read.

    Args:
        run: the run.
        out: the folder to write into.
        licence: the licence of the sources, as the hub names it (cc-by-4.0) or in words.
        push: a data set of the hub to upload it to; made, as a private one, where it is not there.
        funnel: counts what came through each stage, for the card: `lpt.curate.funnel.funnel`.
        progress: is told how many images are done, of how many.

    Raises:
        UserError: no sets, no images, or it cannot be pushed.
        StoreError: the disk failed.
    """
    hub = _hub(push) if push else None
    empty = make_room(run, out)
    with (
        pictures(run, out, "sft", "preferences", progress=progress) as (images, picture),
        ParquetFiles(out, _schema_of, _path_of, shard_bytes=_SHARD_BYTES) as files,
    ):
        walked = walk(run, _Flat(picture), images, files.write)
    _clear(out, files.paths)
    exported = Exported(
        files=files.paths,
        counts=dict(sorted(files.counts.items())),
        skipped=walked.skipped,
        images=images.written,
        neutralised=walked.neutralised,
        empty=empty,
    )
    sets = {_set_and_split(name): rows for name, rows in exported.counts.items()}
    text = card(run, sets, exported.remarks(), licence=licence, stages=funnel(run) if funnel else ())
    exported = msgspec.structs.replace(exported, files=(put(out / "README.md", text.encode()), *exported.files))
    if hub:
        exported = msgspec.structs.replace(exported, pushed=_push(hub, push, out, exported.files))
    return exported


class _Flat(Rows):
    """A column a text: whoever trains joins them as the trainer wants them."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture

    def example(self, example: Example, turn: Turn, image: str) -> dict[str, Any]:
        return {
            "image": self._picture(image),
            "system": turn.system,
            "prompt": turn.prompt,
            "prefix": turn.prefix,
            "target": turn.target,
            "category": example.category,
            "cue": example.cue,
            "id": example.id,
            "image_id": example.image,
            "question_id": example.question,
            "source": example.source,
        }

    def pair(self, pair: Pair, choice: Choice, image: str) -> dict[str, Any]:
        return {
            "image": self._picture(image),
            "system": choice.system,
            "prompt": choice.prompt,
            "shared": choice.shared,
            "chosen": choice.shared + choice.chosen,
            "rejected": choice.shared + choice.rejected,
            "category": pair.category,
            "id": pair.id,
            "image_id": pair.image,
            "question_id": pair.question,
            "chosen_source": pair.chosen_source,
            "rejected_source": pair.rejected_source,
        }


def _set_and_split(name: str) -> tuple[str, str]:
    """The configuration and the split of a set such as lpt_sft_long_train."""
    config, _, split = name.removeprefix("lpt_").rpartition("_")
    return config, split


def _schema_of(name: str) -> pa.Schema:
    return _PREFERENCES if name.startswith("lpt_preferences") else _SFT


def _path_of(name: str, number: int) -> str:
    config, split = _set_and_split(name)
    return f"{config}/{split}-{number:05}.parquet"


def _clear(out: Path, written: Sequence[Path]) -> None:
    """Take away what an earlier export wrote and this one did not: `datasets` would read it along."""
    for path in sorted(out.glob("*/*.parquet")):
        if path not in written and _SHARD.fullmatch(path.relative_to(out).as_posix()):
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                path.parent.rmdir()


# Pushing.


def _hub(repo: str) -> tuple[Any, str]:
    """The library and the user's token, both looked for before there is work to lose.

    Raises:
        UserError: either is missing, or no data set can have that name.
    """
    if not _REPO.fullmatch(repo):
        raise UserError(f'--push wants a data set of the hub, such as you/thoughts, not "{repo}"')
    try:
        library = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise UserError(f"--push needs the package `huggingface_hub` ({error}): {INSTALL}") from error
    token = os.environ.get("HF_TOKEN", "").strip()
    if not token:
        raise UserError(
            "--push needs a token of yours with the right to write, in the environment variable HF_TOKEN: "
            "https://huggingface.co/settings/tokens makes one"
        )
    return library, token


def _push(hub: tuple[Any, str], repo: str, out: Path, files: Sequence[Path]) -> str:
    """Upload what was written, and nothing else that lies in the folder; where it is now."""
    library, token = hub
    try:
        api = library.HfApi(token=token)
        made = api.create_repo(repo_id=repo, repo_type="dataset", private=True, exist_ok=True)
        api.upload_folder(
            repo_id=made.repo_id,
            repo_type="dataset",
            folder_path=str(out),
            allow_patterns=[path.relative_to(out).as_posix() for path in files],
            delete_patterns=[f"{name}/{split}-*.parquet" for name in ("sft_*", "preferences") for split in SPLITS],
            commit_message="Sets by lpt",
        )
    except Exception as error:  # noqa: BLE001 (a large library on a network: anything)
        said = f"{type(error).__name__}: {error}".replace(token, "[token]")
    else:
        return f"https://huggingface.co/datasets/{made.repo_id}"
    # Not from within: the library's own error may hold the request, and the request holds the token.
    raise UserError(f"{out} is written, but was not pushed to {repo}: {said}")
