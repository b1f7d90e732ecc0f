"""Print, as JSON lines, what ms-swift's own template makes of rows: what is given and what is learnt.

    ENV/bin/python scripts/real/inside/swift_labels.py ROWS.jsonl MODEL

Image paths are relative to the folder of ROWS.jsonl.
"""

import json
import os
import sys
from pathlib import Path

ROWS, MODEL = Path(sys.argv[1]), sys.argv[2]

from swift import get_processor, get_template  # noqa: E402

os.chdir(ROWS.parent)


def main() -> None:
    """One line a row."""
    processor = get_processor(MODEL, model_type="qwen2_5_vl")
    template = get_template(processor, max_length=4096, template_type="qwen2_5_vl")
    template.set_mode("train")
    tokenizer = template.tokenizer
    for line in ROWS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        encoded = template.encode({key: row[key] for key in ("messages", "images")})
        ids, labels = list(encoded["input_ids"]), list(encoded["labels"])
        given = [token for token, label in zip(ids, labels, strict=True) if label == -100]
        learnt = [label for label in labels if label != -100]
        print("ROW " + json.dumps({"given": tokenizer.decode(given), "learnt": tokenizer.decode(learnt)}))


main()
