"""Write a tiny model with random weights, its tokenizer trained on the spot: all that a server or trainer asks for.

    ENV/bin/python scripts/real/inside/tiny.py {text|vision} CORPUS OUT

`text` is a Qwen2 with a chat template of R1's kind: the generation prompt opens the thought, and of an earlier turn
only what stands behind </think> is kept. `vision` is a Qwen2.5-VL with its image processor. Run by the interpreter
of the environment that will load it, since libraries do not read each other's newest forms.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

MARKS = (
    *("<|endoftext|>", "<|begin|>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
VOCABULARY = 2048

R1_STYLE = """\
{{- bos_token }}
{%- for message in messages %}
{%- if message.role == 'assistant' %}
{{- '<|im_start|>assistant\\n' }}
{%- if '</think>' in message.content %}
{{- message.content.split('</think>')[-1] }}
{%- else %}
{{- message.content }}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- else %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n<think>\\n' }}
{%- endif %}
"""
QWEN_VL_STYLE = """\
{%- if messages[0].role != 'system' %}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string %}
{{- message.content }}
{%- else %}
{%- for part in message.content %}
{%- if part.type in ('image', 'image_url') %}
{{- '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- else %}
{{- part.text }}
{%- endif %}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def tokenizer(corpus: str, template: str) -> transformers.PreTrainedTokenizerFast:
    """Train a byte-level tokenizer on a text."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(MARKS), initial_alphabet=alphabet, show_progress=False
    )
    learner.train_from_iterator(corpus.splitlines(keepends=True), trainer)
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=learner,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(MARKS[1:]),
        chat_template=template,
        model_max_length=8192,
    )
    made.image_token, made.video_token = "<|image_pad|>", "<|video_pad|>"
    return made


def text(corpus: str, out: Path) -> None:
    """Write the text model."""
    tokens = tokenizer(corpus, R1_STYLE)
    # As R1's does: its own mark before every text that it is given, where the template has put one already.
    tokens.bos_token = "<|begin|>"
    begin = [("<|begin|>", tokens.convert_tokens_to_ids("<|begin|>"))]
    byte_level = processors.ByteLevel(trim_offsets=False)
    marked = processors.TemplateProcessing(single="<|begin|> $A", pair="<|begin|> $A $B", special_tokens=begin)
    tokens.backend_tokenizer.post_processor = processors.Sequence([byte_level, marked])
    config = transformers.Qwen2Config(**_decoder(tokens))
    transformers.Qwen2ForCausalLM(config).save_pretrained(out)
    tokens.save_pretrained(out)


def vision(corpus: str, out: Path) -> None:
    """Write the vision model."""
    tokens = tokenizer(corpus, QWEN_VL_STYLE)
    ids = {mark: tokens.convert_tokens_to_ids(mark) for mark in MARKS}
    config = transformers.Qwen2_5_VLConfig(
        # head_dim is 64: the three sections of the rotary position make up half of it.
        text_config=_decoder(tokens, rope={"type": "mrope", "rope_type": "default", "mrope_section": [8, 12, 12]}),
        vision_config={
            "depth": 2,
            "hidden_size": 128,
            "intermediate_size": 128,
            "num_heads": 2,
            "out_hidden_size": 128,
            "fullatt_block_indexes": [1],
            "window_size": 112,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    transformers.Qwen2_5_VLForConditionalGeneration(config).save_pretrained(out)
    processor = transformers.Qwen2_5_VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(),
        video_processor=transformers.Qwen2VLVideoProcessor(),
        tokenizer=tokens,
        chat_template=QWEN_VL_STYLE,
    )
    processor.save_pretrained(out)


def _decoder(tokens: transformers.PreTrainedTokenizerFast, rope: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "vocab_size": len(tokens),
        "hidden_size": 128,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8192,
        "max_window_layers": 2,
        "bos_token_id": tokens.bos_token_id,
        "eos_token_id": tokens.eos_token_id,
        "pad_token_id": tokens.pad_token_id,
        "tie_word_embeddings": False,
        # A real one's logits are far apart; with the usual 0.02 every token is as likely as any other.
        "initializer_range": 0.1,
        **({"rope_scaling": rope} if rope else {}),
    }


def main() -> None:
    """Write one model."""
    kind, corpus, out = sys.argv[1], Path(sys.argv[2]).read_text(encoding="utf-8"), Path(sys.argv[3])
    torch.manual_seed(0)
    {"text": text, "vision": vision}[kind](corpus, out)
    # What a server samples with by default would be in here.
    (out / "generation_config.json").write_text(json.dumps({"do_sample": True}))


if __name__ == "__main__":
    main()
