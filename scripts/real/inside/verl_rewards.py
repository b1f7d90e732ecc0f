"""Questions as verl loads them, and what its reward manager gives replies to them.

    ENV/bin/python scripts/real/inside/verl_rewards.py PARQUET MODEL REWARD.py SRC

Prints a line `ROW {…}` for each question: what was loaded of it, and the scores of a right, a wrong and an unclear
reply. SRC is where our package lies, which the reward function imports.
"""

import asyncio
import json
import sys
from typing import Any

import torch
from omegaconf import OmegaConf
from torch.utils.data import DataLoader
from transformers import AutoProcessor
from verl import DataProto
from verl.trainer.ppo.reward import get_custom_reward_fn, resolve_reward_manager_cls
from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn

LETTERS = "ABCDEFGHIJ"


def main() -> None:
    """Load, and reward."""
    parquet, model, reward, source = sys.argv[1:]
    sys.path.insert(0, source)
    processor = AutoProcessor.from_pretrained(model)
    settings = {"prompt_key": "prompt", "image_key": "images", "return_raw_chat": True, "max_prompt_length": 4096}
    settings["filter_overlong_prompts_workers"] = None
    data = RLHFDataset([parquet], processor.tokenizer, OmegaConf.create(settings), processor=processor)
    config = OmegaConf.create(
        {
            "reward": {
                "custom_reward_function": {"path": reward, "name": "compute_score"},
                "reward_manager": {"source": "register", "name": "naive"},
            }
        }
    )
    asyncio.run(score(data, processor, config))


async def score(data: Any, processor: Any, config: Any) -> None:
    """Reward replies to each question, as a training step does."""
    manager = resolve_reward_manager_cls(config)(
        config=config, tokenizer=processor.tokenizer, compute_score=get_custom_reward_fn(config)
    )
    for batch in DataLoader(data, batch_size=4, collate_fn=collate_fn):
        for i, chat in enumerate(batch["raw_prompt"]):
            truth = batch["reward_model"][i]["ground_truth"]
            options = batch["extra_info"][i]["options"]
            wrong = next(letter for letter in LETTERS[: len(options)] if letter != truth)
            replies = {"right": answer(truth), "wrong": answer(wrong), "unclear": "I cannot tell."}
            scores = {}
            for name, reply in replies.items():
                ids = torch.tensor([processor.tokenizer(reply, add_special_tokens=False)["input_ids"]])
                item = {key: values[i : i + 1] for key, values in batch.items()}
                item |= {"responses": ids, "attention_mask": torch.ones_like(ids)}
                scores[name] = (await manager.run_single(DataProto.from_single_dict(item)))["reward_score"]
            text = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
            pictures = [part["image"] for turn in chat for part in parts(turn) if part["type"] == "image"]
            seen = processor(text=[text], images=pictures)
            row = {
                "id": batch["extra_info"][i]["id"],
                "source": batch["data_source"][i],
                "index": batch["index"][i],
                "sizes": [list(picture.size) for picture in pictures],
                "text": text,
                "tokens": len(seen["input_ids"][0]),
                "scores": scores,
            }
            print("ROW", json.dumps(row), flush=True)


def answer(letter: str) -> str:
    """A reply that chooses an option, whatever form was asked for."""
    return f"<think> I look at it. </think> <answer> ({letter}) </answer>"


def parts(turn: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of a turn that has any."""
    return turn["content"] if isinstance(turn["content"], list) else []


if __name__ == "__main__":
    main()
