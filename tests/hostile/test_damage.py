"""Whatever strangers wrote, each reader comes back with records, drops or an error that says what is wrong."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile.damage import damaged
from tests.hostile.readers import READERS
from tests.hostile.seeds import SEEDS

_EXAMPLES = 12
"""Of each reader; `make fuzz` reads for an hour."""


def test_each_reader_has_seeds():
    assert READERS.keys() == SEEDS.keys()


@pytest.mark.parametrize("name", READERS)
def test_what_is_whole_is_read(name: str):
    for data in SEEDS[name]:
        READERS[name](data)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=_EXAMPLES)
@given(seed=st.integers(0, 2**32))
def test_what_is_damaged_is_read_or_refused_in_words(name: str, seed: int):
    chance = random.Random(seed)
    READERS[name](damaged(chance.choice(SEEDS[name]), chance, SEEDS[name]))


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=_EXAMPLES)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_in_words(name: str, data: bytes):
    READERS[name](data)
