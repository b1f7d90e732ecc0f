"""The miniature's student: a Qwen2.5-VL of 1.4 million parameters, its tokenizer and its image processor.

Its classes are the real ones and its folder is an ordinary one: plain transformers loads it, vLLM serves it, and
`lpt train` trains it. Needs torch and transformers.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from lpt.world.boards.board import SIDE
from lpt.world.boards.picture import CELL

IMAGE_TOKENS: Final = SIDE * SIDE
"""A cell is one of them: patches of 14 pixels, merged two by two."""
_MARKS: Final = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
_TAGS: Final = ("<think>", "</think>", "<answer>", "</answer>")
# Letters and digits stay together, so that a cell's name ("b3") is one token, as a word is.
_WORDS: Final = r" ?[A-Za-z0-9]+| ?[^\sA-Za-z0-9]+|\s"
# A turn's words come before its picture, whatever their order was: a small model that knows what it is asked looks
# at the picture with that in mind, layer by layer.
_TEMPLATE: Final = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string %}
{{- message.content }}
{%- else %}
{%- for part in message.content if part.type == 'text' %}
{{- part.text }}
{%- endfor %}
{%- for part in message.content if part.type == 'image' %}
{{- '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def tokenizer(texts: Iterable[str]) -> Any:
    """A byte-level tokenizer in which each word of the texts is one token; it can write any other text, too."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    learner.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=2000, initial_alphabet=alphabet, show_progress=False)
    )
    learner.add_tokens([AddedToken(tag, normalized=False) for tag in _TAGS])
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=learner,
        eos_token="<|im_end|>",  # noqa: S106 (a mark of the vocabulary)
        pad_token="<|endoftext|>",  # noqa: S106
        additional_special_tokens=list(_MARKS[1:]),
        chat_template=_TEMPLATE,
        model_max_length=1024,
    )
    made.image_token, made.video_token = "<|image_pad|>", "<|video_pad|>"
    return made


def new(tokens: Any, seed: int, *, width: int = 128, layers: int = 4) -> Any:
    """A student that knows nothing yet.

    Args:
        tokens: its tokenizer.
        seed: of its first weights.
        width: of the language model; a multiple of 32.
        layers: of the language model.
    """
    ids = {mark: tokens.convert_tokens_to_ids(mark) for mark in _MARKS}
    torch.manual_seed(seed)
    config = transformers.Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokens),
            "hidden_size": width,
            "intermediate_size": width * 3,
            "num_hidden_layers": layers,
            "num_attention_heads": width // 32,
            "num_key_value_heads": width // 32,
            "max_position_embeddings": 1024,
            "max_window_layers": layers,
            "bos_token_id": None,
            "eos_token_id": tokens.eos_token_id,
            "pad_token_id": tokens.pad_token_id,
            "tie_word_embeddings": True,
            "rope_theta": 10_000.0,
            "rope_scaling": {"type": "mrope", "rope_type": "default", "mrope_section": [4, 6, 6]},
        },
        vision_config={
            "depth": 2,
            "hidden_size": 96,
            "intermediate_size": 192,
            "num_heads": 3,
            "out_hidden_size": width,
            "fullatt_block_indexes": [0, 1],
            "window_size": 112,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def processor() -> Any:
    """Makes patches of a picture of a board, which is taken as it is."""
    side = SIDE * CELL
    return Qwen2VLImageProcessorPil(min_pixels=side * side, max_pixels=side * side)


def save(model: Any, tokens: Any, out: Path) -> None:
    """Write what `from_pretrained` reads: weights, tokenizer, image processor."""
    model.save_pretrained(out)
    tokens.save_pretrained(out)
    processor().save_pretrained(out)
