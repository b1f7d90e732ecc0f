"""Partitions: every image in exactly one, in ranges, wherever and in whatever order it is asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.cluster.share import means_of, share
from lpt.errors import UserError
from lpt.models.purse import Means
from lpt.partition import Partition
from lpt.settings import ModelSettings
from tests.conftest import small_recipe

hashes = st.binary(min_size=16, max_size=16).map(bytes.hex)


@given(st.sets(hashes, min_size=1, max_size=60), st.integers(1, 300))
def test_every_image_is_in_exactly_one_partition_and_partitions_are_ranges(images: set[str], of: int):
    parts = list(Partition.all(of))
    homes = [[part.index for part in parts if part.holds(image)] for image in sorted(images)]
    assert all(len(home) == 1 for home in homes)
    assert homes == sorted(homes)


@given(st.integers(1, 9999))
def test_the_first_and_the_last_hash_are_in_the_first_and_the_last_partition(of: int):
    assert Partition(0, of).holds("0" * 32)
    assert Partition(of - 1, of).holds("f" * 32)


@given(st.integers(1, 9999).flatmap(lambda of: st.tuples(st.integers(0, of - 1), st.just(of))))
def test_a_partition_is_read_as_it_is_written(given: tuple[int, int]):
    part = Partition(*given)
    assert Partition.parse(str(part)) == part
    assert Partition.named(part.name) == part


@pytest.mark.parametrize("text", ["", "3", "4/4", "-1/4", "0/0", "1/x", "1/10000", "٣/٤"])
def test_what_is_no_partition_is_refused(text: str):
    with pytest.raises(UserError, match="--partition"):
        Partition.parse(text)


@given(st.integers(1, 40), st.integers(1, 1000), st.integers(1, 20))
def test_workers_together_keep_to_the_limits_of_the_recipe(workers: int, limit: int, replicas: int):
    urls = tuple(f"http://127.0.0.1:{8000 + i}/v1" for i in range(replicas))
    model = ModelSettings(model="m", url=urls, requests_per_minute=limit, tokens_per_minute=limit * 100)
    recipe = small_recipe("http://127.0.0.1:1/v1")
    recipe.models["student"] = model
    shares = [share(recipe, slot, workers).models["student"] for slot in range(workers)]
    assert sum(one.requests_per_minute for one in shares) <= max(limit, workers)
    assert sum(one.tokens_per_minute for one in shares) <= max(limit * 100, workers)
    assert all(one.url for one in shares)
    if workers >= replicas or replicas % workers == 0:
        used = [{one.url} if isinstance(one.url, str) else set(one.url or ()) for one in shares]
        assert set().union(*used) == set(urls)


def test_a_launched_server_is_a_workers_own():
    recipe = small_recipe("http://127.0.0.1:1/v1")
    recipe.models["student"] = ModelSettings(model="m", launch="lpt sim", requests_per_minute=10, concurrency=8)
    assert share(recipe, 1, 4).models["student"] == recipe.models["student"]


def test_partitions_together_spend_no_more_than_the_run_may():
    means = Means(tokens=1001, cost=3.0, seconds=60)
    each = [means_of(part, means) for part in Partition.all(4)]
    assert sum(one.tokens or 0 for one in each) <= 1001
    assert sum(one.cost or 0 for one in each) == pytest.approx(3.0)
    assert {one.seconds for one in each} == {60}
    with pytest.raises(UserError, match="less than a token"):
        means_of(Partition(0, 8), Means(tokens=5))
