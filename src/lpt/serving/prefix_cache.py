"""A paged prefix cache, as servers keep one: blocks of tokens, found by the hash of all that leads to them.

What a request shares with earlier ones *from its first token on* is not computed again. The model is vLLM's,
made small: fixed-size blocks, each known by a hash of its own tokens chained to its parent's; only full blocks
are kept; the last token is always computed, since the next one comes from it; the least recently used block
goes first, and of one prompt its tail before its head, since a head serves more prompts. Prompts only: what
the model wrote is not kept.
"""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b


class PrefixCache:
    """Remembers the blocks of earlier prompts; `capacity` counts blocks."""

    def __init__(self, block_size: int = 16, capacity: int = 1 << 16) -> None:
        self.block_size = block_size
        self.capacity = capacity
        self._blocks: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blocks)

    def admit(self, tokens: Sequence[str]) -> int:
        """Take a prompt in, and say how many of its tokens were there already.

        Args:
            tokens: the prompt's token pieces; an image's are its hash, repeated.
        """
        chain = self._chain(tokens)
        blocks = self._blocks
        held = next((i for i, key in enumerate(chain) if key not in blocks), len(chain))
        # Newest last, so the head of the chain is touched last and leaves last.
        for key in reversed(chain):
            blocks[key] = None
            blocks.move_to_end(key)
        while len(blocks) > self.capacity:
            blocks.popitem(last=False)
        return min(held, max(0, len(tokens) - 1) // self.block_size) * self.block_size

    def _chain(self, tokens: Sequence[str]) -> list[bytes]:
        size = self.block_size
        parent = b""
        chain = []
        for start in range(0, len(tokens) - size + 1, size):
            # What joins the pieces stands in no text, so ["ab", "c"] is not ["a", "bc"].
            block = "\0".join(tokens[start : start + size])
            parent = blake2b(block.encode("utf-8", "surrogatepass"), key=parent, digest_size=16).digest()
            chain.append(parent)
        return chain
