"""Lessons → batches → loss, fast on two cores: pictures are seen once, and what was seen is kept. Needs torch.

The vision tower is frozen once it can name what is in a cell, so a board's 16 image tokens never change again. What
is left is a small language model, and nearly all of its time is matrix products, in bfloat16.
"""

import io
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from lpt.miniature.lessons import Lesson
from lpt.miniature.student import IMAGE_TOKENS, processor
from lpt.settings import CaptionSettings
from lpt.vision import quicken
from lpt.world.boards.board import SIDE, Board
from lpt.world.boards.picture import picture
from lpt.world.words import draw

# Rows are filled up on the right, so that nothing need be hidden but what is to come.
_CAUSAL: Any = {"full_attention": None, "sliding_attention": None}


class Encoded(NamedTuple):
    """A lesson as tokens."""

    ids: list[int]
    begins: int
    """Where the reply begins; loss is on it alone."""
    board: int
    """Which board's picture is shown; -1: none."""


class Encoder:
    """Lessons → tokens, as the tokenizer's chat template has them."""

    def __init__(self, tokens: Any) -> None:
        self.tokens = tokens
        self.image = int(tokens.convert_tokens_to_ids("<|image_pad|>"))

    def prompt(self, lesson: Lesson) -> str:
        """A lesson's prompt in full, one mark for each image token."""
        text = [{"type": "text", "text": lesson.prompt}]
        turns = [{"role": "user", "content": [{"type": "image"}, *text] if lesson.seen else lesson.prompt}]
        if lesson.system:
            turns.insert(0, {"role": "system", "content": lesson.system})
        rendered: str = self.tokens.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return rendered.replace("<|image_pad|>", "<|image_pad|>" * IMAGE_TOKENS)

    def encode(self, lessons: Sequence[tuple[int, Lesson]]) -> list[Encoded]:
        """(board, lesson) → tokens, the reply closed."""
        prompts = [self.prompt(lesson) for _, lesson in lessons]
        both = self.tokens(prompts + [lesson.reply for _, lesson in lessons], add_special_tokens=False)["input_ids"]
        end = [self.tokens.eos_token_id]
        return [
            Encoded(ids + reply + end, len(ids), board if lesson.seen else -1)
            for ids, reply, (board, lesson) in zip(both, both[len(lessons) :], lessons, strict=False)
        ]


class Batch(NamedTuple):
    """Rows side by side, filled up on the right."""

    ids: Tensor
    labels: Tensor
    """As ids; -100 where nothing is learnt."""
    where: Tensor
    """(3, rows, length): in time, height and width."""
    boards: Tensor
    """Of the rows with a picture, in their order."""


def batch(rows: Sequence[Encoded], image: int, pad: int) -> Batch:
    """Put rows side by side."""
    longest = -(-max(len(row.ids) for row in rows) // 8) * 8
    ids = torch.tensor([row.ids + [pad] * (longest - len(row.ids)) for row in rows])
    labels = ids.clone()
    for at, row in enumerate(rows):
        labels[at, : row.begins] = -100
        labels[at, len(row.ids) :] = -100
    return Batch(ids, labels, positions(ids, image), torch.tensor([row.board for row in rows if row.board >= 0]))


def positions(ids: Tensor, image: int) -> Tensor:
    """As Qwen2.5-VL counts, for one picture a row at most: (rows, length) → (3, rows, length)."""
    marks = ids == image
    flat = torch.arange(ids.shape[1]).expand_as(ids)
    passed = marks.cumsum(-1)
    # A picture stands still in time and runs over rows and columns. After it the count goes on from its side, not
    # from its number of tokens.
    start, index = flat - passed + 1, (passed - 1).clamp(min=0)
    after = torch.where(passed > 0, flat - IMAGE_TOKENS + SIDE, flat)
    time = torch.where(marks, start, after)
    height = torch.where(marks, start + index // SIDE, after)
    width = torch.where(marks, start + index % SIDE, after)
    return torch.stack([time, height, width])


def patches(boards: Sequence[Board], grains: Sequence[object], style: str = "plain") -> Tensor:
    """The pictures of boards as the image processor cuts them: (boards, 64, 1176).

    By its grain every other one has been through a JPEG, as what is sent to a server has; training reads the files.
    """
    pictures = [picture(*one, style) for one in zip(boards, grains, strict=True)]
    for at, grain in enumerate(grains):
        if draw("sent", grain).random() < 0.5:
            pictures[at] = _sent(pictures[at])
    made = processor()(images=pictures, return_tensors="pt")
    values: Tensor = made["pixel_values"]
    return values.view(len(boards), -1, values.shape[-1])


def _sent(image: Image.Image) -> Image.Image:
    held = io.BytesIO()
    image.save(held, "JPEG", quality=CaptionSettings().quality)
    return Image.open(held).convert("RGB")


def see(model: Any, values: Tensor) -> Tensor:
    """What the vision tower makes of patches: (boards, 64, 1176) → (boards, 16, width)."""
    side = values.shape[1] // (2 * SIDE)
    grid = torch.tensor([[1, side, side]]).expand(len(values), 3)
    with torch.autocast("cpu", torch.bfloat16):
        seen = model.model.visual(values.flatten(0, 1), grid_thw=grid).pooler_output
    return torch.as_tensor(seen).float().view(len(values), IMAGE_TOKENS, -1)


def descend(optimizer: Any, lost: Tensor, rate: float) -> None:
    """One step down a loss at a learning rate, the gradient's norm clipped at 1."""
    moving = [weight for group in optimizer.param_groups for weight in group["params"]]
    for group in optimizer.param_groups:
        group["lr"] = rate
    lost.backward()
    torch.nn.utils.clip_grad_norm_(moving, 1.0)
    optimizer.step()
    optimizer.zero_grad()


def scheduled(step: int, of: int, rise: int) -> float:
    """A step's share of the peak learning rate: up over `rise` steps, then down as a cosine, to a twentieth."""
    return min(1, step / rise) * max(0.05, 0.5 * (1 + math.cos(math.pi * step / of)))


def attend_fast(model: Any) -> None:
    """Give a student the attention below, and its vision tower the quick one."""
    ALL_ATTENTION_FUNCTIONS.register("lpt-products", _attend)
    model.model.language_model.config._attn_implementation = "lpt-products"
    quicken(model)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, **_more: Any
) -> tuple[Tensor, None]:
    """Causal attention as two matrix products: on a CPU its gradient in bfloat16 is twice as fast as the fused.

    Shapes: (rows, heads, length, width of a head) → (rows, length, heads, width).
    """
    del module, mask
    length = query.shape[2]
    later = torch.full((length, length), -1e4, dtype=query.dtype).triu(1)
    weights = torch.softmax(torch.matmul(query * scaling, key.transpose(-1, -2)) + later, -1).to(value.dtype)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), None


def features(model: Any, boards: Sequence[Board], grains: Sequence[object], style: str = "plain") -> Tensor:
    """What a frozen vision tower makes of boards: (boards, 16, width), in bfloat16."""
    with torch.no_grad():
        parts = [
            see(model, patches(boards[at : at + 256], grains[at : at + 256], style)).bfloat16()
            for at in range(0, len(boards), 256)
        ]
    return torch.cat(parts)


def hidden(model: Any, rows: Batch, seen: Tensor, image: int) -> Tensor:
    """The last layer's states: (rows, length, width)."""
    core = model.model.language_model
    with torch.autocast("cpu", torch.bfloat16):
        embedded = core.embed_tokens(rows.ids)
        if len(rows.boards):
            marks = (rows.ids == image)[..., None].expand_as(embedded)
            embedded = embedded.masked_scatter(marks, seen[rows.boards].to(embedded.dtype))
        out = core(inputs_embeds=embedded, position_ids=rows.where, attention_mask=_CAUSAL, use_cache=False)
    return torch.as_tensor(out.last_hidden_state)


def loss(model: Any, rows: Batch, seen: Tensor, image: int) -> Tensor:
    """The mean cross-entropy of what is learnt."""
    states = hidden(model, rows, seen, image)[:, :-1]
    labels = rows.labels[:, 1:]
    learnt = labels != -100
    with torch.autocast("cpu", torch.bfloat16):
        logits = model.lm_head(states[learnt])
    return functional.cross_entropy(logits.float(), labels[learnt])
