"""Draws are functions of ids; longer thoughts are drawn first; nothing depends on the order of the rows."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.curate import select
from lpt.records import digest, draw

ids = st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=30)


@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=9), st.lists(st.text(max_size=5)))
def test_digests_are_the_records_own(rows: list[tuple[str, str]], parts: list[str]) -> None:
    made = select.digests("id", parts, [a for a, _ in rows], [b for _, b in rows])
    assert made.to_list() == [digest(*parts, *row) for row in rows]


@given(ids, st.integers(0, 9))
def test_draws_are_the_records_own(names: list[str], seed: int) -> None:
    made = select.draws(pl.Series("id", names, dtype=pl.String), seed, "sft")
    assert made.to_list() == [draw(seed, name, "sft") for name in names]


pools = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 50), st.sampled_from(["O", "O→O"])), min_size=1, max_size=40
).map(
    lambda rows: pl.DataFrame(
        {
            "id": [digest("row", i) for i in range(len(rows))],
            "question": [str(q) for q, _, _ in rows],
            "length": [length for _, length, _ in rows],
            "category": [category for _, _, category in rows],
        }
    )
)


@given(pools, st.randoms(use_true_random=False), st.integers(0, 40), st.integers(1, 3))
def test_what_is_drawn_does_not_depend_on_the_order_of_rows(pool, random, count, quota) -> None:
    places = list(range(pool.height))
    random.shuffle(places)

    def drawn(rows: pl.DataFrame) -> list[str]:
        keyed = select.within_quota(select.weighted(rows, 0, "sft"), quota)
        return select.take(keyed, count).to_list()

    assert drawn(pool) == drawn(pool[places])


@given(pools, st.integers(1, 3))
def test_a_quota_is_kept_for_each_category_of_each_question(pool: pl.DataFrame, quota: int) -> None:
    kept = select.within_quota(select.weighted(pool, 0, "sft"), quota)
    by = ("question", "category")
    most = pool.group_by(by).len().with_columns(pl.col("len").clip(upper_bound=quota))
    assert kept.group_by(by).len().sort(by).equals(most.sort(by))


def test_each_rank_by_length_is_half_as_likely() -> None:
    questions = 20_000
    pool = pl.DataFrame(
        {
            "id": [digest(q, length) for q in range(questions) for length in (30, 20, 10)],
            "question": [str(q) for q in range(questions) for _ in range(3)],
            "length": [30, 20, 10] * questions,
        }
    )
    keyed = select.weighted(pool, 7, "sft")
    first = keyed.sort("key", descending=True).unique("question", keep="first", maintain_order=True)
    shares = dict(first["length"].value_counts(normalize=True).iter_rows())
    assert shares == pytest.approx({30: 4 / 7, 20: 2 / 7, 10: 1 / 7}, abs=0.01)


def test_thousands_of_ranks_do_not_overflow() -> None:
    pool = pl.DataFrame({"id": [digest(i) for i in range(3000)], "question": "q", "length": range(3000)})
    keyed = select.weighted(pool, 0, "sft")
    assert keyed["key"].is_finite().all()
    assert len(select.take(keyed, 10)) == 10


@pytest.mark.parametrize(
    ("total", "part", "expected"),
    [(0, 0.1, 0), (3, 0.1, 1), (25, 0.1, 3), (100, 0.1, 10), (7, 1.0, 7), (9, 0.0, 0)],
)
def test_a_share_is_rounded_but_at_least_one(total: int, part: float, expected: int) -> None:
    assert select.share(total, part) == expected
