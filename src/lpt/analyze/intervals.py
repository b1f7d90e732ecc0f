"""Intervals for figures about traces, which come in images: two thoughts about one picture are not two witnesses.

All of them take sums and sizes by image, so they can be had of tables that do not fit into memory.
"""

import math
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from lpt.evaluate.stats import LEAST, by_cluster, resampled, student
from lpt.records import digest

Floats: TypeAlias = npt.NDArray[np.float64]

DRAWS: Final = 2_000


class Estimate(NamedTuple):
    """A figure with its 95 % interval; no interval where there are fewer than five images."""

    value: float | None
    low: float | None = None
    high: float | None = None


NONE: Final = Estimate(None)


def ratio(sums: Floats, sizes: Floats, *, share: bool = False) -> Estimate:
    """The sum of one thing by the sum of another (a mean, a share, a rate), over images.

    Student's interval from the spread between images (the cluster-robust one). As for a share, two images more, one
    all yes and one all no, keep the interval from being empty where all images agree (see `lpt.evaluate.stats`).

    Args:
        sums: (images,) what is counted.
        sizes: (images,) in how many it is counted.
        share: whether it lies between 0 and 1.
    """
    there = sizes > 0
    sums, sizes = sums[there], sizes[there]
    total = float(sizes.sum())
    if not total:
        return NONE
    value = float(sums.sum()) / total
    number = len(sums)
    if number < LEAST:
        return Estimate(value)
    centre = value
    if share:
        sums, sizes = np.append(sums, [1.0, 0.0]), np.append(sizes, [1.0, 1.0])
        centre = float(sums.sum() / sizes.sum())
    rest = sums - sizes * centre
    count = len(sums)
    error = math.sqrt(count / (count - 1) * float((rest**2).sum())) / float(sizes.sum())
    reach = student(0.975, number - 1) * error
    low, high = centre - reach, centre + reach
    return Estimate(value, max(low, 0.0), min(high, 1.0) if share else high)


def paired(values: Floats, images: Floats, *, seed: str) -> Estimate:
    """The mean of differences, with a percentile interval of a bootstrap that draws whole images.

    Args:
        values: (units,) differences between two treatments of the same thing.
        images: (units,) a number for the image of each.
        seed: a name from which the draws come.
    """
    if not len(values):
        return NONE
    sums, sizes = by_cluster(values, images)
    value = float(values.mean())
    number = len(sums)
    if number < LEAST:
        return Estimate(value)
    rng = np.random.default_rng(int(digest(seed)[:12], 16))
    means = resampled(rng, sums, sizes, DRAWS)
    # The draws of a mean of k images vary by (k - 1) / k of what the mean itself does, and Student's tails are
    # wider than the normal's: as in `lpt.evaluate.stats.bootstrapped`.
    wide = student(0.975, number - 1) / 1.959964 * math.sqrt(number / (number - 1))
    low, high = (float(end) for end in np.quantile(means, [0.025, 0.975]))
    return Estimate(value, value - (value - low) * wide, value + (high - value) * wide)


def ratios(sums: pl.DataFrame, top: str, bottom: str, *, share: bool = False) -> Estimate:
    """`ratio` of two columns of a frame that has a row an image (or several of one, which are summed)."""
    by_image = sums.group_by("image", maintain_order=True).agg(pl.col(top).sum(), pl.col(bottom).sum())
    return ratio(
        by_image[top].cast(pl.Float64).to_numpy(), by_image[bottom].cast(pl.Float64).to_numpy(), share=share
    )
