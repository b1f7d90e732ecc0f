"""For verl, and for whatever else learns from rewards: each question once, with the answer that it is checked by.

These are the run's questions as the student was shown them, not its thoughts. A reward function beside them grades
replies as the run itself was graded.
"""

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from lpt.errors import UserError
from lpt.exports.base import SPLITS, Exported, beside, make_folder
from lpt.exports.images import Progress
from lpt.exports.parquet import IMAGE, ParquetFiles, Picture, pictures, schema
from lpt.exports.rows import put
from lpt.exports.safe import safe_text
from lpt.records import Question
from lpt.store.run import Run

MARK = "<image>"
"""What verl puts the image in the place of."""
DATA_SOURCE = "long_perceptual_thoughts"

_STRINGS = pa.list_(pa.string())
_SCHEMA = schema(
    data_source=pa.string(),
    prompt=pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
    images=pa.list_(IMAGE),
    ability=pa.string(),
    reward_model=pa.struct([("style", pa.string()), ("ground_truth", pa.string())]),
    extra_info=pa.struct(
        [
            ("split", pa.string()),
            ("index", pa.int64()),
            ("id", pa.string()),
            ("caption", pa.string()),
            ("image", pa.string()),
            ("kind", pa.string()),
            ("question", pa.string()),
            ("options", _STRINGS),
            ("answer_format", pa.string()),
        ]
    ),
)


def export(run: Run, out: Path, *, progress: Progress | None = None) -> Exported:
    """Write a run's questions for reinforcement learning with a verifiable reward.

    Args:
        run: the run. Questions that it dropped stay out.
        out: the folder to write into.
        progress: is told how many images are done, of how many.

    Raises:
        UserError: no questions, no images.
        StoreError: the disk failed.
    """
    if not run.has("questions"):
        raise UserError(f"{run.path} has no questions: a run asks or brings them, an imported one may have none")
    make_folder(out)
    drops = run.table("drops").filter(pl.col("stage") == "ask").select("record").unique().collect()
    dropped = set(drops["record"])
    skipped: dict[str, int] = {}
    neutralised = 0
    with (
        pictures(run, out, "questions", progress=progress) as (images, picture),
        ParquetFiles(out, lambda _: _SCHEMA, lambda name, _: f"{name}.parquet") as files,
    ):
        for question in run.questions():
            if question.id in dropped:
                continue
            reference = images.reference(question.image)
            if reference is None:
                why = images.missing[question.image]
                skipped[why] = skipped.get(why, 0) + 1
                continue
            name = f"lpt_rl_{question.split}"
            row, changed = _row(question, files.counts.get(name, 0), picture, reference)
            neutralised += changed
            files.write(name, row)
        if not files.counts:
            gone = ", ".join(f"{rows:,} for {why}" for why, rows in sorted(skipped.items()))
            raise UserError(
                f"there is nothing to export: {run.path} has no question that could be written"
                f"{f' (left out: {gone})' if gone else ''}. `lpt status {run.path}` says where everything left"
            )
    for split in SPLITS:
        if f"lpt_rl_{split}" not in files.counts:
            (out / f"lpt_rl_{split}.parquet").unlink(missing_ok=True)  # an earlier export's
    return Exported(
        files=(
            *files.paths,
            put(out / "reward.py", beside("verl_reward.py.txt").encode()),
            put(out / "README.md", beside("verl_README.md").encode()),
        ),
        counts=dict(sorted(files.counts.items())),
        skipped=dict(sorted(skipped.items())),
        images=images.written,
        neutralised=neutralised,
    )


def _row(question: Question, index: int, picture: Picture, reference: str) -> tuple[dict[str, Any], bool]:
    system, prompt = safe_text(question.system), safe_text(question.prompt)
    turns = [{"role": "user", "content": MARK + prompt}]
    row = {
        "data_source": DATA_SOURCE,
        "prompt": [{"role": "system", "content": system}, *turns] if system else turns,
        "images": [picture(reference)],
        "ability": "visual_perception",
        "reward_model": {"style": "rule", "ground_truth": question.answer},
        "extra_info": {
            "split": question.split,
            "index": index,
            "id": question.id,
            "caption": question.caption,
            "image": question.image,
            "kind": question.kind,
            "question": question.stem,
            "options": list(question.options),
            "answer_format": question.answer_format,
        },
    }
    return row, (system, prompt) != (question.system, question.prompt)
