"""Sets of the miniature with one thing wrong or left out: what a row of its table is about.

    python scripts/miniature_sets.py unmask EXPORT OUT        the wrong thought is learnt, as where a mask is lost
    python scripts/miniature_sets.py without-mended EXPORT OUT  no pair whose chosen side is X→O

EXPORT is what `lpt export RUN --to trl` wrote; `lpt train` reads OUT as it reads EXPORT.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_OPENING = "<think>"


def _unmasked(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The prompt ends where the assistant begins, so that all that it says is learnt."""
    at = row["prompt"].rfind(_OPENING) if "completion" in row else -1
    if at >= 0 and row["metadata"]["category"] == "X→O":
        row = {**row, "prompt": row["prompt"][:at], "completion": row["prompt"][at:] + row["completion"]}
    yield row


def _without_mended(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not str(row["metadata"]["category"]).startswith("X→O"):
        yield row


def main() -> None:
    """Rewrite an export's rows; images are linked."""
    what, source, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    change = {"unmask": _unmasked, "without-mended": _without_mended}[what]
    shutil.copytree(source, out, copy_function=shutil.os.link)
    for path in out.glob("lpt_*.jsonl"):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        path.unlink()  # a link: the export's own file stays as it is
        changed = (new for row in rows for new in change(row))
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in changed), encoding="utf-8")


if __name__ == "__main__":
    main()
