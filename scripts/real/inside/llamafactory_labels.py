"""Print, as JSON lines, what a stock LLaMA-Factory makes of an exported set: ids and labels as text.

    ENV/bin/python scripts/real/inside/llamafactory_labels.py EXPORT MODEL TEMPLATE SET {sft|dpo}

EXPORT is the folder that `lpt export --to llamafactory` wrote; TEMPLATE is `lpt_raw`, which is registered from
there, or one of its own.
"""

import json
import sys
from pathlib import Path

FOLDER, MODEL, TEMPLATE, SET, STAGE = sys.argv[1:]
if TEMPLATE == "lpt_raw":
    sys.path.insert(0, FOLDER)
    import register_template  # noqa: F401 (it registers)

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer  # noqa: E402
from llamafactory.hparams import get_train_args  # noqa: E402
from llamafactory.model import load_tokenizer  # noqa: E402

IGNORED = -100


def main() -> None:
    """One line a row, in the order of the set."""
    model, data, training, _, _ = get_train_args(
        {
            "model_name_or_path": MODEL,
            "stage": STAGE,
            "do_train": True,
            "finetuning_type": "full",
            "dataset_dir": FOLDER,
            "dataset": SET,
            "template": TEMPLATE,
            "cutoff_len": 4096,
            "image_max_pixels": 262144,
            "preprocessing_num_workers": 1,
            "overwrite_cache": True,
            "output_dir": str(Path(FOLDER) / "labels"),
            "report_to": "none",
            "bf16": False,
        }
    )
    module = load_tokenizer(model)
    tokenizer = module["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data)
    rows = get_dataset(template, model, data, training, stage="rm" if STAGE == "dpo" else STAGE, **module)
    for row in rows["train_dataset"]:
        said = {}
        for side in ("chosen_", "rejected_") if STAGE == "dpo" else ("",):
            ids, labels = row[f"{side}input_ids"], row[f"{side}labels"]
            first = next(i for i, label in enumerate(labels) if label != IGNORED)
            said[f"{side}ids"] = ids
            said[f"{side}given"] = tokenizer.decode(ids[:first])
            said[f"{side}learnt"] = tokenizer.decode([label for label in labels[first:] if label != IGNORED])
            said[f"{side}whole_tail"] = labels[first:] == ids[first:]
            said[f"{side}shown"] = [
                [tokenizer.decode([token]), label != IGNORED] for token, label in zip(ids, labels, strict=True)
            ]
        print("ROW " + json.dumps(said))


main()
