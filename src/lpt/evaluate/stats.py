"""What a difference is worth: intervals over clusters, exact tests, corrections, the least that could be seen.

Everything is about *values*: one number a unit, for one model its score (0 to 1), for two the difference of their
scores on the same unit. Units that were sampled together (two questions about one picture) form a *cluster* and
count as one piece of evidence; units are averaged within *groups* (categories), and groups by their weights
(`lpt.evaluate.metrics`).

Of our own in numpy rather than from SciPy, of which it would use two functions for a hundred megabytes; the tests
hold both against SciPy and statsmodels. Every random number comes from a seed, so the same scores give the same
figures.

Sources: clustered standard errors: Miller, Adding Error Bars to Evals, 2024; the adjustment for few discordant
pairs: Bonett and Price, Adjusted Wald intervals for a difference of binomial proportions based on paired data,
2012; the widened percentiles: Hesterberg, What Teachers Should Know About the Bootstrap, 2015.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

LEVEL: Final = 0.95
POWER: Final = 0.8
DRAWS: Final = 10_000
LEAST: Final = 5
"""Clusters: with fewer, an interval would say more about its own method than about the models."""
FEWEST: Final = 3
"""Repetitions of a whole training: each is many questions, but few can be had."""
_NORMAL: Final = NormalDist()
_CHUNK: Final = 4_000_000  # numbers held at once while drawing


class Part(msgspec.Struct, frozen=True):
    """The values of one group, and what its mean weighs."""

    weight: float
    values: Floats
    clusters: Ints
    """One number a value; values of the same number were sampled together."""


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate and how far it can be trusted, in the unit of the values."""

    value: float
    low: float | None
    """None, as `high`: there are fewer than `LEAST` clusters."""
    high: float | None
    error: float | None
    """The standard error."""
    units: int
    clusters: int

    @property
    def excludes_zero(self) -> bool:
        """Whether zero is outside."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def clustered(values: Floats, clusters: Ints, *, paired: bool, level: float = LEVEL) -> Interval:
    """The mean of values that come in clusters, with Student's interval from the spread between clusters.

    Where few values differ from the others the observed spread is too small, at the extreme zero: twenty right
    answers of twenty do not prove a hundred per cent. So the interval, and only the interval, counts two clusters
    of one unit more, of the two extreme values (differences: +1 and -1; scores: 1 and 0), and is cut at what is
    possible.

    Args:
        values: one a unit: differences from -1 to 1, or scores from 0 to 1.
        clusters: (units,) which values were sampled together.
        paired: whether they are differences.
        level: how often such intervals hold the truth.
    """
    units = len(values)
    if not units:
        return Interval(value=math.nan, low=None, high=None, error=None, units=0, clusters=0)
    mean = float(values.mean())
    sums, sizes = by_cluster(values, clusters)
    number = len(sums)
    if number < LEAST:
        return Interval(value=mean, low=None, high=None, error=None, units=units, clusters=number)
    extremes = np.array([1.0, -1.0 if paired else 0.0])
    sums, sizes = np.concatenate([sums, extremes]), np.concatenate([sizes, np.ones(2)])
    centre = float(sums.sum() / sizes.sum())
    error = _error(sums, sizes)
    reach = student(0.5 + level / 2, number - 1) * error
    least = -1.0 if paired else 0.0
    return Interval(
        value=mean,
        low=max(centre - reach, least),
        high=min(centre + reach, 1.0),
        error=error,
        units=units,
        clusters=number,
    )


def repeated(values: Sequence[float], level: float = LEVEL) -> Interval:
    """The mean of what independent repetitions came to, as trainings of several seeds, with Student's interval.

    Two repetitions give none: it would be thirteen times as wide as they lie apart.
    """
    number = len(values)
    mean = float(np.mean(values)) if number else math.nan
    if number < FEWEST:
        return Interval(value=mean, low=None, high=None, error=None, units=number, clusters=number)
    error = spread(np.array(values), np.arange(number))
    reach = student(0.5 + level / 2, number - 1) * error
    return Interval(value=mean, low=mean - reach, high=mean + reach, error=error, units=number, clusters=number)


def spread(values: Floats, clusters: Ints) -> float:
    """The cluster-robust standard error of a mean (CR1), not adjusted. NaN for fewer than two clusters."""
    sums, sizes = by_cluster(values, clusters)
    return _error(sums, sizes) if len(sums) > 1 else math.nan


def _error(sums: Floats, sizes: Floats) -> float:
    number, total = len(sums), sizes.sum()
    residuals = sums - sizes * (sums.sum() / total)
    return float(math.sqrt(number / (number - 1) * float((residuals**2).sum())) / total)


def by_cluster(values: Floats, clusters: Floats | Ints) -> tuple[Floats, Floats]:
    """The sum of values of each cluster, and how many they are."""
    _, codes = np.unique(clusters, return_inverse=True)
    return np.bincount(codes, weights=values).astype(np.float64), np.bincount(codes).astype(np.float64)


def weighted(parts: Sequence[Part]) -> float:
    """The mean of the groups' means by their weights."""
    total = sum(part.weight for part in parts)
    return float(sum(part.weight * part.values.mean() for part in parts) / total) if total else math.nan


def bootstrap(parts: Sequence[Part], *, seed: int, draws: int = DRAWS) -> Floats:
    """Draws of the weighted mean of group means: within each group, clusters are drawn with replacement, (draws,).

    A cluster that reaches over several groups is drawn in each of them by itself.
    """
    total = sum(part.weight for part in parts)
    out = np.zeros(draws)
    for place, part in enumerate(parts):
        rng = np.random.default_rng([seed, place])
        sums, sizes = by_cluster(part.values, part.clusters)
        out += part.weight / total * _redrawn(rng, sums, sizes, draws)
    return out


def _redrawn(rng: np.random.Generator, sums: Floats, sizes: Floats, draws: int) -> Floats:
    """Means of a group whose clusters are drawn anew, (draws,).

    Clusters that are alike, and with one sample nearly all are, are drawn by how many of them come: the same
    distribution in a thousandth of the time.
    """
    kinds, counts = np.unique(sums + 1j * sizes, return_counts=True)
    number = len(sums)
    if len(kinds) * 4 <= number or len(kinds) <= 64:
        times = rng.multinomial(number, counts / number, size=draws).astype(np.float64)
        means: Floats = (times @ kinds.real) / (times @ kinds.imag)
        return means
    return resampled(rng, sums, sizes, draws)


def resampled(rng: np.random.Generator, sums: Floats, sizes: Floats, draws: int) -> Floats:
    """Means of a group whose clusters are drawn with replacement, (draws,), as many at once as memory holds."""
    number = len(sums)
    means = np.empty(draws)
    step = max(1, _CHUNK // number)
    for first in range(0, draws, step):
        chosen = rng.integers(0, number, size=(min(step, draws - first), number))
        means[first : first + step] = sums[chosen].sum(axis=1) / sizes[chosen].sum(axis=1)
    return means


def bootstrapped(
    parts: Sequence[Part], *, paired: bool, seed: int, draws: int = DRAWS, level: float = LEVEL
) -> tuple[Interval, Floats]:
    """The weighted mean of group means with its interval from the bootstrap, and the draws themselves.

    Percentiles of a bootstrap are too narrow where groups are small; they are taken farther out, as far as the
    groups' sizes ask for. Where the groups hold nothing to draw from (all values the same), the interval comes
    from the clustered one of the groups, which does not believe in certainty.
    """
    value = weighted(parts)
    units = sum(len(part.values) for part in parts)
    numbers = [len(np.unique(part.clusters)) for part in parts]
    drawn = bootstrap(parts, seed=seed, draws=draws)
    if not parts or min(numbers) < LEAST:
        return Interval(value=value, low=None, high=None, error=None, units=units, clusters=sum(numbers)), drawn
    total = sum(part.weight for part in parts)
    shares = [(part.weight / total) ** 2 * spread(part.values, part.clusters) ** 2 for part in parts]
    if sum(shares):
        # The draws of a mean of k clusters vary by (k - 1) / k of what the mean itself does.
        seen = sum(share * (number - 1) / number for share, number in zip(shares, numbers, strict=True))
        degrees = sum(shares) ** 2 / sum(s**2 / (number - 1) for s, number in zip(shares, numbers, strict=True))
        tail = _NORMAL.cdf(-student(0.5 + level / 2, degrees) * math.sqrt(sum(shares) / seen))
        low, high = (float(end) for end in np.quantile(drawn, [tail, 1 - tail]))
        error = math.sqrt(sum(shares))
    else:
        groups = [clustered(part.values, part.clusters, paired=paired, level=level) for part in parts]
        errors = [part.weight / total * (group.error or 0.0) for part, group in zip(parts, groups, strict=True)]
        error = math.hypot(*errors)
        reach = student(0.5 + level / 2, min(numbers) - 1) * error
        low, high = value - reach, value + reach
    least = -1.0 if paired else 0.0
    return (
        Interval(
            value=value,
            low=max(low, least),
            high=min(high, 1.0),
            error=error,
            units=units,
            clusters=sum(numbers),
        ),
        drawn,
    )


def mcnemar(gained: int, lost: int) -> float:
    """The exact two-sided McNemar test: units that only one of the two got right, the same chance for either.

    Args:
        gained: units right for the second and not for the first.
        lost: the other way round.
    """
    number = gained + lost
    if not number:
        return 1.0
    fewer = min(gained, lost)
    ways = term = 1
    for place in range(fewer):
        term = term * (number - place) // (place + 1)
        ways += term
    # Whole numbers to the end: 2 ** 12,000 is no float, but a ratio of such numbers is.
    return float(min(1.0, 2 * ways / 2**number))


def flipped(parts: Sequence[Part], *, seed: int, draws: int = DRAWS) -> float:
    """The two-sided sign-flip test of a weighted mean of differences: the clusters' signs are as good as thrown.

    Exact up to the number of draws for any metric, clusters and several samples included; with clusters of one unit
    and one sample it is McNemar's test by simulation.
    """
    total = sum(part.weight for part in parts)
    shares = []
    for part in parts:
        sums, _ = by_cluster(part.values, part.clusters)
        shares.append(part.weight / total * sums / len(part.values))
    every = np.concatenate(shares) if shares else np.zeros(0)
    every = every[every != 0]
    if not len(every):
        return 1.0
    seen = abs(float(every.sum())) - 1e-12
    rng = np.random.default_rng([seed, len(every)])
    # Equal steps are thrown together: a binomial count of them, the same distribution in no time.
    sizes, counts = np.unique(np.round(np.abs(every), 15), return_counts=True)
    heads = np.stack([rng.binomial(count, 0.5, size=draws) for count in counts], axis=1)
    thrown = (2.0 * heads - counts) @ sizes
    return float((1 + int((np.abs(thrown) >= seen).sum())) / (1 + draws))


def holm(chances: Sequence[float]) -> list[float]:
    """Holm's correction: p-values under which the chance of any false alarm among all stays what is said."""
    order = np.argsort(np.asarray(chances, np.float64), kind="stable")
    out = [0.0] * len(chances)
    most = 0.0
    for rank, place in enumerate(order.tolist()):
        most = max(most, min(1.0, (len(chances) - rank) * chances[place]))
        out[place] = most
    return out


def detectable(error: float, *, level: float = LEVEL, power: float = POWER) -> float:
    """The least true difference that would be told from zero so often (`power`), given a standard error."""
    return (_NORMAL.inv_cdf(0.5 + level / 2) + _NORMAL.inv_cdf(power)) * error


def detectable_at(units: int, discordance: float = 0.2) -> float:
    """The same before anything is measured: the two models disagree about this share of independent units."""
    return detectable(math.sqrt(discordance / units)) if units else math.nan


def student(chance: float, degrees: float) -> float:
    """Student's quantile, exact for one and two degrees of freedom, else to three digits (Cornish and Fisher).

    Abramowitz and Stegun, 26.7.5.
    """
    if degrees == 1:
        return math.tan(math.pi * (chance - 0.5))
    if degrees == 2:
        return (2 * chance - 1) / math.sqrt(2 * chance * (1 - chance))
    x = _NORMAL.inv_cdf(chance)
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
    )
    return x + float(sum(term / degrees**power for power, term in enumerate(terms, 1)))
