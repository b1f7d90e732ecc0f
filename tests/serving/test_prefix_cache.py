from hypothesis import given
from hypothesis import strategies as st

from lpt.serving.prefix_cache import PrefixCache

# Few letters and short prompts, so that prefixes are shared often.
prompts = st.lists(st.text("ab", max_size=14).map(list), min_size=1, max_size=25)


def shared(one: list[str], other: list[str]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@given(prompts, st.integers(1, 4))
def test_with_room_for_all_the_longest_shared_prefix_is_cached_in_full_blocks(asked, size):
    cache = PrefixCache(size, 10_000)
    for i, prompt in enumerate(asked):
        longest = max((shared(prompt, earlier) for earlier in asked[:i]), default=0)
        # The last token is always computed.
        assert cache.admit(prompt) == min(longest, max(0, len(prompt) - 1)) // size * size


class Naive:
    """The same cache kept as whole prefixes in a plain list, oldest first."""

    def __init__(self, size: int, capacity: int) -> None:
        self.size, self.capacity = size, capacity
        self.kept: list[list[str]] = []

    def admit(self, prompt: list[str]) -> int:
        prefixes = [prompt[: end * self.size] for end in range(1, len(prompt) // self.size + 1)]
        held = 0
        while held < len(prefixes) and prefixes[held] in self.kept:
            held += 1
        for prefix in prefixes[::-1]:
            if prefix in self.kept:
                self.kept.remove(prefix)
            self.kept.append(prefix)
        self.kept = self.kept[-self.capacity :]
        return min(held * self.size, (max(0, len(prompt) - 1)) // self.size * self.size)


@given(prompts, st.integers(1, 3), st.integers(1, 6))
def test_with_little_room_the_least_recently_used_blocks_leave_first(asked, size, capacity):
    cache, naive = PrefixCache(size, capacity), Naive(size, capacity)
    for prompt in asked:
        assert cache.admit(prompt) == naive.admit(prompt)
        assert len(cache) == len(naive.kept) <= capacity


def test_of_a_prompt_too_long_for_the_cache_the_head_stays():
    cache = PrefixCache(1, 2)
    cache.admit(list("abcdef"))
    assert cache.admit(list("abxyz")) == 2
    assert cache.admit(list("cdef")) == 0


def test_the_same_tokens_after_another_beginning_are_not_the_same_block():
    cache = PrefixCache(2, 100)
    cache.admit(list("aabbcc"))
    assert cache.admit(list("xxbbcc")) == 0


def test_where_tokens_end_matters():
    cache = PrefixCache(2, 100)
    cache.admit(["ab", "c", "-"])
    assert cache.admit(["a", "bc", "-"]) == 0
