"""Intervals, tests and corrections, held against SciPy and statsmodels and against simulated truth."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpt.evaluate import stats
from lpt.evaluate.stats import Part

scipy_stats = pytest.importorskip("scipy.stats")


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs(gained: int, lost: int) -> None:
    expected = scipy_stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert stats.mcnemar(gained, lost) == pytest.approx(expected, rel=1e-9)
    assert stats.mcnemar(gained, lost) == stats.mcnemar(lost, gained)


def test_mcnemar_as_statsmodels_has_it() -> None:
    contingency = pytest.importorskip("statsmodels.stats.contingency_tables")
    for gained, lost in ((5, 17), (60, 42), (0, 8)):
        expected = contingency.mcnemar([[30, gained], [lost, 40]], exact=True).pvalue
        assert stats.mcnemar(gained, lost) == pytest.approx(expected)


def test_mcnemar_of_thousands_is_still_exact() -> None:
    assert stats.mcnemar(1100, 1300) == pytest.approx(scipy_stats.binomtest(1100, 2400).pvalue, rel=1e-9)
    assert stats.mcnemar(40, 12_000) == 0.0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_as_statsmodels_has_it(chances: list[float]) -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    expected = multitest.multipletests(chances, method="holm")[1]
    assert stats.holm(chances) == pytest.approx(expected.tolist())


def test_holm_of_nothing() -> None:
    assert stats.holm([]) == []


@pytest.mark.parametrize("degrees", [1, 2, 4, 5, 9, 30, 149, 12_031])
@pytest.mark.parametrize("chance", [0.9, 0.975, 0.99])
def test_students_quantile(degrees: int, chance: float) -> None:
    assert stats.student(chance, degrees) == pytest.approx(scipy_stats.t.ppf(chance, degrees), rel=4e-3)


def test_three_degrees_where_intervals_end() -> None:
    assert stats.student(0.975, 3) == pytest.approx(scipy_stats.t.ppf(0.975, 3), rel=2e-3)


@settings(max_examples=30)
@given(st.lists(st.floats(-1, 1), max_size=8))
def test_the_interval_of_repetitions_as_scipy_has_it(values: list[float]) -> None:
    found = stats.repeated(values)
    assert found.units == found.clusters == len(values)
    if len(values) < 3:
        assert (found.low, found.high, found.error) == (None, None, None)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # SciPy's, where all are the same
            expected = scipy_stats.ttest_1samp(values, 0).confidence_interval()
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=4e-3, abs=1e-3)


def test_the_clustered_error_as_statsmodels_has_it() -> None:
    api = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(0)
    clusters = rng.integers(0, 60, 400)
    values = rng.normal(size=400) + rng.normal(size=60)[clusters]
    fitted = api.OLS(values, np.ones(400)).fit(cov_type="cluster", cov_kwds={"groups": clusters})
    # statsmodels also multiplies by (n - 1) / (n - k), which is 1 for a mean.
    assert stats.spread(values, clusters) == pytest.approx(float(fitted.bse[0]), rel=1e-6)


def test_with_clusters_of_one_it_is_the_ordinary_error() -> None:
    values = np.random.default_rng(1).random(50)
    assert stats.spread(values, np.arange(50)) == pytest.approx(values.std(ddof=1) / math.sqrt(50))


def test_the_bootstrap_spreads_as_scipys_does() -> None:
    rng = np.random.default_rng(2)
    for values in (rng.choice([1.0, -1.0, 0.0], p=[0.2, 0.1, 0.7], size=120), rng.normal(size=300)):
        drawn = stats.bootstrap([Part(1.0, values, np.arange(len(values)))], seed=0, draws=20_000)
        theirs = scipy_stats.bootstrap((values,), np.mean, n_resamples=20_000, rng=1).standard_error
        assert drawn.mean() == pytest.approx(values.mean(), abs=0.003)
        assert drawn.std() == pytest.approx(theirs, rel=0.03)


def test_clusters_are_drawn_whole() -> None:
    """Two equal values a cluster: as much evidence as one, so the draws spread as those of the clusters."""
    values = np.random.default_rng(3).choice([1.0, -1.0, 0.0], size=100)
    alone = stats.bootstrap([Part(1.0, values, np.arange(100))], seed=0)
    doubled = stats.bootstrap([Part(1.0, values.repeat(2), np.arange(100).repeat(2))], seed=0)
    assert doubled.std() == pytest.approx(alone.std(), rel=0.05)
    # As if they were unrelated they would spread less: the mistake that clusters are there to prevent.
    naive = stats.bootstrap([Part(1.0, values.repeat(2), np.arange(200))], seed=0)
    assert naive.std() < 0.8 * alone.std()


def test_groups_are_drawn_by_themselves_and_weighted() -> None:
    """Groups of another level each: drawn together, the share of each group would vary, and the mean with it."""
    parts = [Part(3.0, np.full(20, 0.2), np.arange(20)), Part(1.0, np.full(5, 1.0), np.arange(5))]
    assert stats.weighted(parts) == pytest.approx(0.4)
    assert np.ptp(stats.bootstrap(parts, seed=0)) == pytest.approx(0, abs=1e-12)


def test_the_same_seed_gives_the_same_draws() -> None:
    part = Part(1.0, np.random.default_rng(4).normal(size=90), np.arange(90))
    once, again, other = (stats.bootstrap([part], seed=seed, draws=1000) for seed in (5, 5, 6))
    assert (once == again).all()
    assert (once != other).any()


def test_sign_flips_of_single_pairs_are_mcnemars_test() -> None:
    for gained, lost in ((12, 3), (20, 14), (6, 6), (1, 0)):
        values = np.array([1.0] * gained + [-1.0] * lost + [0.0] * 30)
        part = Part(1.0, values, np.arange(len(values)))
        assert stats.flipped([part], seed=0) == pytest.approx(stats.mcnemar(gained, lost), abs=0.015)


def test_sign_flips_as_scipys_permutation_test() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(0.3, 1, size=40).round(1)
    theirs = scipy_stats.permutation_test(
        (values, np.zeros(40)), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=20_000, rng=1
    ).pvalue
    assert stats.flipped([Part(1.0, values, np.arange(40))], seed=0) == pytest.approx(theirs, abs=0.015)


def test_sign_flips_turn_whole_clusters() -> None:
    """Ten pairs of twins that all gained are ten pieces of evidence, not twenty."""
    values, clusters = np.ones(20), np.arange(10).repeat(2)
    assert stats.flipped([Part(1.0, values, clusters)], seed=0, draws=100_000) == pytest.approx(2 / 2**10, rel=0.25)


def test_the_least_that_could_be_seen() -> None:
    """Figures that are known: 20 % discordance, 80 % power."""
    known = {191: 9.1, 300: 7.2, 750: 4.6, 765: 4.5, 1000: 4.0, 2638: 2.4, 12_032: 1.1}
    assert {items: round(100 * stats.detectable_at(items), 1) for items in known} == known


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=5, max_size=80),
    st.integers(1, 4),
)
def test_an_interval_holds_its_estimate_and_stays_within_what_is_possible(values: list[float], size: int) -> None:
    array = np.array(values)
    found = stats.clustered(array, np.arange(len(array)) // size, paired=True)
    if len(array) <= size * (stats.LEAST - 1):
        assert found.low is None
        return
    assert found.low is not None
    assert found.high is not None
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high, "nobody is ever certain"


def test_where_nothing_changed_the_interval_is_not_a_point() -> None:
    few = stats.clustered(np.zeros(20), np.arange(20), paired=True)
    many = stats.clustered(np.zeros(2000), np.arange(2000), paired=True)
    for found, least in ((few, 0.05), (many, 0.0005)):
        assert found.low is not None
        assert found.high is not None
        assert found.high > least
        assert found.low < -least
    parts = [Part(1.0, np.zeros(20), np.arange(20)), Part(1.0, np.zeros(30), np.arange(30))]
    found, _ = stats.bootstrapped(parts, paired=True, seed=0)
    assert found.high is not None
    assert found.high > 0.03


def test_all_right_is_not_one_for_certain() -> None:
    found = stats.clustered(np.ones(20), np.arange(20), paired=False)
    assert found.value == 1.0
    assert found.low is not None
    assert found.low < 0.97


def test_nothing_at_all() -> None:
    found = stats.clustered(np.zeros(0), np.zeros(0, np.int64), paired=True)
    assert math.isnan(found.value)
    assert found.low is None
    assert stats.flipped([], seed=0) == 1.0


# --- intervals hold the truth as often as they say -------------------------------------------------------------


def _differences(rng: np.random.Generator, clusters: int, size: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of paired differences: a fifth discordant, half of the clusters of one mind."""
    values = rng.choice([1.0, -1.0, 0.0], p=[0.1 + shift / 2, 0.1 - shift / 2, 0.8], size=(clusters, size))
    alike = rng.random(clusters) < 0.5
    values[alike] = values[alike][:, :1]
    return values.ravel(), np.arange(clusters).repeat(size)


@pytest.mark.parametrize(("clusters", "size", "shift"), [(150, 2, 0.05), (60, 4, 0.0), (800, 1, 0.1)])
def test_clustered_intervals_cover(clusters: int, size: int, shift: float) -> None:
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(2000):
        found = stats.clustered(*_differences(rng, clusters, size, shift), paired=True)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= shift <= found.high
    assert 0.93 <= held / 2000 <= 0.97


@pytest.mark.parametrize("groups", [(115, 76), (40, 40, 40, 40)])
def test_bootstrapped_intervals_cover(groups: tuple[int, ...]) -> None:
    rng = np.random.default_rng(8)
    held = 0
    shifts = [0.02 + 0.03 * place for place in range(len(groups))]
    for seed in range(600):
        parts = [Part(1.0, *_differences(rng, size, 2, shift)) for size, shift in zip(groups, shifts, strict=True)]
        found, _ = stats.bootstrapped(parts, paired=True, seed=seed, draws=1000)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= sum(shifts) / len(shifts) <= found.high
    assert 0.93 <= held / 600 <= 0.97


def test_intervals_of_scores_cover() -> None:
    rng = np.random.default_rng(9)
    held = 0
    for _ in range(2000):
        level = rng.normal(0.6, 0.25, size=150).clip(0, 1)
        values = (rng.random((150, 2)) < level[:, None]).astype(float).ravel()
        found = stats.clustered(values, np.arange(150).repeat(2), paired=False)
        truth = 0.5949  # the mean of that normal, cut at 0 and 1
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth <= found.high
    assert 0.93 <= held / 2000 <= 0.97


def test_a_corrected_test_rarely_cries_wolf() -> None:
    """Six benchmarks, nothing to be found: a false alarm in one comparison of twenty at most."""
    rng = np.random.default_rng(10)
    alarms = 0
    for seed in range(200):
        chances = []
        for _ in range(6):
            values, clusters = _differences(rng, 80, 2, 0.0)
            chances.append(stats.flipped([Part(1.0, values, clusters)], seed=seed, draws=999))
        alarms += min(stats.holm(chances)) < 0.05
    assert alarms / 200 <= 0.08


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_weights_of_one_group_do_not_matter(seed: int) -> None:
    values = np.random.default_rng(seed).choice([1.0, -1.0, 0.0], size=60)
    one, ten = (stats.bootstrap([Part(weight, values, np.arange(60))], seed=1, draws=500) for weight in (1.0, 10.0))
    assert one == pytest.approx(ten)


@pytest.fixture(autouse=True)
def _calm() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what the reference libraries use
        yield None
