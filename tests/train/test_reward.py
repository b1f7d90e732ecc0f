"""The grader as a reward: what TRL's GRPO is told of completions, and that it takes it."""

from pathlib import Path

import pytest

from lpt.train.reward import answered_right, reward

OPTIONS = ["red", "blue", "green", "grey"]


@pytest.mark.parametrize(
    ("said", "worth"),
    [
        ("<think> It is blue. </think> <answer> (B) </answer>", 1.0),
        ("<think> It is red. Wait, no: blue. </think> <answer> B </answer>", 1.0),
        ("<think> It is blue. </think> <answer> (A) </answer>", 0.0),
        ("<think> It is blue or grey. </think> <answer> (B) or (D) </answer>", 0.0),
        ("I cannot say.", 0.0),
    ],
)
def test_only_the_right_option_is_rewarded(said: str, worth: float):
    assert reward(said, OPTIONS, "B", "(X)") == worth
    turns = [{"role": "assistant", "content": said}]
    parts = [{"role": "assistant", "content": [{"type": "text", "text": said}]}]
    told = answered_right([said, turns, parts], options=[OPTIONS] * 3, answer=["B"] * 3, prompts=["?"] * 3)
    assert told == [worth] * 3


def test_trl_learns_from_it(tiny_model: Path, tmp_path: Path):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    rows = {"prompt": ["Which colour?"] * 4, "options": [OPTIONS] * 4, "answer": ["B"] * 4}
    seen: list[float] = []

    def counted(**given: object) -> list[float]:
        seen.extend(worth := answered_right(**given))  # type: ignore[arg-type]
        return worth

    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    # What it learns with is of no interest here; the decoder of a Qwen2.5-VL is a Qwen2.
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    trainer = trl.GRPOTrainer(
        model=transformers.Qwen2ForCausalLM(config),
        reward_funcs=counted,
        args=trl.GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=2,
            num_generations=2,
            max_completion_length=4,
            max_steps=1,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
        ),
        train_dataset=datasets.Dataset.from_dict(rows),
        processing_class=tokenizer,
    )
    trainer.train()
    assert len(seen) >= 2
    assert set(seen) <= {0.0, 1.0}
