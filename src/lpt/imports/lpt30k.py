"""The set that the method's authors released (LongPerceptualThoughts-30k), as a run that has an SFT set.

Only this much of its schema is known here: `example_id` (a text), `messages` (a dict), `cot_type` (a text). What a
row is found to say beyond that, or instead of it, is told; what can be understood is taken.
"""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

from lpt.captions.base import Bad
from lpt.errors import SourceError
from lpt.imports.conversations import turns
from lpt.imports.files import files, rows
from lpt.imports.sets import Imported, Importer
from lpt.imports.sharegpt import finished

EXPECTED: dict[str, type] = {"example_id": str, "messages": dict, "cot_type": str}

_DOCCI = re.compile(r"(?:train|test|qual_dev|qual_test)_\d+")
_REMARKS = 20
_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


def import_lpt30k(path: str | Path, out: str | Path, images: str | Path | None = None) -> Imported:
    """Make a run of the released set. Nothing is composed: the set is taken as it is.

    Args:
        path: a JSON, JSON Lines or Parquet file, or a folder of them.
        out: the run folder to make.
        images: DOCCI's images, which the set is joined with by name. Without them an image is known by its name.

    Raises:
        SourceError: it cannot be read, or not one row of it can be used; what was found is told.
    """
    path = Path(os.path.realpath(path))  # resolve() fails on links in a circle
    found = files(path)
    root = Path(images).resolve() if images is not None else path if path.is_dir() else path.parent
    if not root.is_dir():
        raise SourceError(f"--images {root} is not a folder")
    seen: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    total = kept = 0
    with Importer("lpt30k", path, root, out, named=images is None) as importer:
        for file in found:
            for place, row in rows(file):
                total += 1
                if isinstance(row, Bad):
                    importer.drop("sft", place, row.reason, row.detail)
                    continue
                seen.update(_unexpected(row))
                kind = row.get("cot_type")
                kinds[kind if isinstance(kind, str) else "none"] += 1
                kept += _take(importer, place, row, root)
    remarks = [f"{count:,} of {total:,} rows: {what}" for what, count in sorted(seen.most_common(_REMARKS))]
    if len(seen) > _REMARKS:
        remarks.append(f"and {len(seen) - _REMARKS:,} more oddities, each in no more rows than these")
    remarks.append("cot_type: " + ", ".join(f"{kind[:40]} {count:,}" for kind, count in kinds.most_common(8)))
    remarks.append("which words carry no loss is not recorded in this set: every turn is taken as learnt in full")
    return finished(importer, kept, remarks)


def _unexpected(row: dict[str, Any]) -> list[str]:
    """What a row has that it should not, or has not that it should."""
    odd = [f"unexpected column `{name[:40]}`" for name in row.keys() - EXPECTED.keys()]
    for name, kind in EXPECTED.items():
        if name not in row:
            odd.append(f"no `{name}`")
        elif not isinstance(row[name], kind):
            odd.append(f"`{name}` is a {type(row[name]).__name__}, not a {kind.__name__}")
    if isinstance(row.get("messages"), dict):
        odd.append(
            f"`messages` holds {', '.join(sorted(str(key)[:20] for key in row['messages'])[:8]) or 'nothing'}"
        )
    return odd


def _take(importer: Importer, place: str, row: dict[str, Any], root: Path) -> bool:
    name = row.get("example_id")
    if not isinstance(name, str) or not name.strip():
        importer.drop("sft", place, "no-id", "`example_id` is missing, or no text")
        return False
    read = turns(row.get("messages"))
    if isinstance(read, str):
        importer.drop("sft", place, read, "`messages`")
        return False
    kind = row.get("cot_type")
    category = kind.strip()[:40] if isinstance(kind, str) and kind.strip() else "imported"
    importer.example(place, read, _image(name, root), category)
    return True


def _image(example: str, root: Path) -> str:
    """The file that an example is about: it is DOCCI's, whose name the id is or holds."""
    found = _DOCCI.search(example)
    stem = found[0] if found else example
    if "/" in stem or "\\" in stem or len(stem) > 200:  # no name of a file
        return stem
    return next((stem + ending for ending in _ENDINGS if (root / (stem + ending)).is_file()), f"{stem}.jpg")
