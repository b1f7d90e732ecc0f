"""Two steps of TRL on an exported set, and what it learns of each row, as JSON lines.

ENV/bin/python scripts/real/inside/trl_steps.py EXPORT MODEL OUT {sft|dpo} SET
"""

import json
import sys

FOLDER, MODEL, OUT, STAGE, SET = sys.argv[1:]
sys.path.insert(0, FOLDER)

from load import load  # noqa: E402 (written beside the sets)
from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: E402
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer  # noqa: E402

COMMON = {
    "output_dir": OUT,
    "max_steps": 2,
    "per_device_train_batch_size": 2,
    "logging_steps": 1,
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "max_length": None,
    "gradient_checkpointing": False,
    "seed": 0,
    "save_strategy": "no",
    "learning_rate": 1e-3,
}


def main() -> None:
    """Train, and print rows and losses."""
    processor = AutoProcessor.from_pretrained(MODEL)
    data = load(SET).remove_columns("metadata")
    rows = [{key: value for key, value in row.items() if key != "images"} for row in data]
    model = AutoModelForImageTextToText.from_pretrained(MODEL)
    if STAGE == "sft":
        trainer = SFTTrainer(model=model, args=SFTConfig(**COMMON), train_dataset=data, processing_class=processor)
    else:
        trainer = DPOTrainer(
            model=model,
            ref_model=AutoModelForImageTextToText.from_pretrained(MODEL),
            args=DPOConfig(**COMMON),
            train_dataset=data.remove_columns("shared"),
            processing_class=processor,
        )
    tokenizer = processor.tokenizer
    collate = trainer.data_collator
    for index, row in enumerate(rows):
        batch = collate([trainer.train_dataset[index]])
        for side in range(len(batch["input_ids"])):
            ids = batch["input_ids"][side].tolist()
            if "labels" in batch:
                learnt = [label != -100 for label in batch["labels"][side].tolist()]
            else:
                learnt = [bool(mask) for mask in batch["completion_mask"][side].tolist()]
            given = [token for token, is_learnt in zip(ids, learnt, strict=True) if not is_learnt]
            told = [token for token, is_learnt in zip(ids, learnt, strict=True) if is_learnt]
            name = "" if STAGE == "sft" else ("chosen", "rejected")[side]
            said = {
                "row": index,
                "side": name,
                "prompt": row["prompt"],
                "completion": row.get("completion") or row.get(name),
                "given": tokenizer.decode(given).replace(tokenizer.pad_token, ""),
                "learnt": tokenizer.decode(told),
            }
            print("ROW " + json.dumps(said))
    trainer.train()
    print("LOSSES " + json.dumps([entry["loss"] for entry in trainer.state.log_history if "loss" in entry]))


main()
