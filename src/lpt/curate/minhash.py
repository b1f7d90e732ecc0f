"""Near-duplicate texts: MinHash signatures, and LSH to find the pairs worth comparing, in numpy.

A text is the set of its runs of three words. A signature holds, for each of 128 hash functions, the least hash in
that set; two signatures agree in a place with the probability that is the sets' Jaccard similarity, so the share of
agreeing places estimates it, with a standard deviation of at most sqrt(1 / (4 * 128)), about 0.044. Signatures are
cut into 16 bands of 8 places: texts that share a whole band are compared, which two of similarity 0.85 do in 99.4 %
of cases, and of 0.5 in 6 %.

Of our own rather than from a library: datasketch, the usual one, asks for SciPy and hashes a text at a time in
Python. All hashes are spelt out here, so that a text has the same signature everywhere and always.
"""

from hashlib import blake2b
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

Words: TypeAlias = npt.NDArray[np.uint64]
Signatures: TypeAlias = npt.NDArray[np.uint16]
Ints: TypeAlias = npt.NDArray[np.int64]

PLACES: Final = 128
BANDS: Final = 16
SHINGLE: Final = 3
_ROWS: Final = PLACES // BANDS
_BATCH: Final = 1024  # runs of words hashed at once: half a megabyte, which stays in a processor's cache
_MOST: Final = 256  # of one bucket that a text is compared with: what keeps a heap of look-alikes linear

_MIX: Final = tuple(np.uint64(value) for value in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_STEPS: Final = tuple(np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))


def _mixed(values: Words) -> Words:
    """The finalizer of splitmix64: every bit of the input moves every bit of the output."""
    values = (values ^ (values >> np.uint64(30))) * _MIX[0]
    values = (values ^ (values >> np.uint64(27))) * _MIX[1]
    mixed: Words = values ^ (values >> np.uint64(31))
    return mixed


# The hash functions x → a x + b mod 2^32, a odd, of hashes that are well mixed already.
_PLACES: Final[Words] = np.arange(1, PLACES + 1, dtype=np.uint64)
_FACTORS: Final = (_mixed(_PLACES * _STEPS[0]) | np.uint64(1)).astype(np.uint32)
_OFFSETS: Final = _mixed(_PLACES * _STEPS[1]).astype(np.uint32)


def signatures(texts: pl.Series) -> Signatures:
    """Signatures of texts, (texts, 128). Case and punctuation do not count; texts without a word are all alike."""
    runs, counts = _shingles(texts)
    shingles = runs.astype(np.uint32)
    out = np.empty((len(texts), PLACES), np.uint16)
    ends = counts.cumsum()
    first = 0
    while first < len(texts):
        begin = int(ends[first] - counts[first])
        last = max(first + 1, int(np.searchsorted(ends, begin + _BATCH, side="right")))
        part = shingles[begin : int(ends[last - 1])]
        hashed = part[:, None] * _FACTORS
        hashed += _OFFSETS
        starts = (ends[first:last] - counts[first:last]) - begin
        # The lower half of a least hash is as good as random: sixteen bits of it tell two apart.
        out[first:last] = np.minimum.reduceat(hashed, starts, axis=0).astype(np.uint16)
        first = last
    return out


def estimate(one: Signatures, others: Signatures) -> npt.NDArray[np.float64]:
    """The estimated Jaccard similarity of one signature (128,) with each of several (n, 128)."""
    return np.asarray((others == one).mean(axis=1))


def repeats(found: Signatures, threshold: float) -> dict[int, int]:
    """Which texts repeat an earlier one: row → the first kept row that it is similar to.

    Rows are gone through in their order; one that is similar to a row that stays leaves. What a text that leaves is
    similar to is not asked: in a chain where only neighbours are alike, every other one stays.

    Args:
        found: signatures in the order that decides who is first.
        threshold: the estimated similarity from which on a text repeats another.
    """
    buckets, active = _buckets(found)
    kept: dict[int, list[int]] = {}
    gone: dict[int, int] = {}
    for row, mine in zip(active.tolist(), buckets.tolist(), strict=True):
        near = {other for bucket in mine if bucket >= 0 for other in kept.get(bucket, ())}
        if near:
            others = np.fromiter(sorted(near), np.int64)
            alike = estimate(found[row], found[others]) >= threshold
            if alike.any():
                gone[row] = int(others[int(alike.argmax())])
                continue
        for bucket in mine:
            if bucket >= 0:
                held = kept.setdefault(bucket, [])
                if len(held) < _MOST:
                    held.append(row)
    return gone


def _buckets(found: Signatures) -> tuple[npt.NDArray[np.int32], Ints]:
    """The rows that share a band with any other, each with its buckets' numbers; -1 where it is alone in a band."""
    rows = len(found)
    out = np.full((rows, BANDS), -1, np.int32)
    used = 0
    for band in range(BANDS):
        keys = _folded(found[:, band * _ROWS : (band + 1) * _ROWS])
        order = np.argsort(keys, kind="stable")
        same = keys[order][1:] == keys[order][:-1]
        grouped = np.zeros(rows, bool)
        grouped[1:] |= same
        grouped[:-1] |= same
        starts = grouped.copy()
        starts[1:] &= ~same
        numbers = used + np.cumsum(starts) - 1
        out[order[grouped], band] = numbers[grouped]
        used += int(starts.sum())
    active = np.flatnonzero((out >= 0).any(axis=1))
    return out[active], active


def _folded(band: Signatures) -> Words:
    """A band's eight places as one number. Two bands that fold alike are compared in full all the same."""
    halves = np.ascontiguousarray(band).view(np.uint64)
    return _mixed(halves[:, 0] ^ _mixed(halves[:, 1] + _STEPS[0]))


def _shingles(texts: pl.Series) -> tuple[Words, Ints]:
    """The hashed runs of three words of all texts, one after the other; and how many a text has, at least one."""
    words = texts.fill_null("").str.to_lowercase().str.extract_all(r"[\p{L}\p{N}]+").alias("words")
    # A text of fewer words than a run is filled up, so that it has one.
    filled = pl.col("words").list.concat(pl.lit([""] * SHINGLE, pl.List(pl.String))).list.head(SHINGLE)
    few = pl.col("words").list.len() < SHINGLE
    words = words.to_frame().select(pl.when(few).then(filled).otherwise("words"))["words"]
    lengths = words.list.len().to_numpy().astype(np.int64)
    hashed = _hashed(words.explode(empty_as_null=False))
    runs = np.zeros(max(len(hashed) - SHINGLE + 1, 0), np.uint64)
    for step, factor in enumerate(_STEPS):
        runs += _mixed(hashed[step : step + len(runs)] * factor)
    # Runs that reach over the end of their text are none.
    ends = lengths.cumsum()
    inside = np.ones(len(hashed), bool)
    for step in range(1, SHINGLE):
        inside[ends - step] = False
    return _mixed(runs)[inside[: len(runs)]], lengths - SHINGLE + 1


def _hashed(words: pl.Series) -> Words:
    """A hash of each word. Each different word is hashed once: texts use the same few thousand."""
    coded = words.to_arrow().cast(pa.large_string()).dictionary_encode()
    table = np.asarray([_hash(word) for word in coded.dictionary.to_pylist()], np.uint64)
    hashed: Words = table[coded.indices.to_numpy()]
    return hashed


def _hash(word: str) -> int:
    return int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little")


def runs(text: str) -> frozenset[int]:
    """The set that a text is: its hashed runs of three words."""
    return frozenset(_shingles(pl.Series([text], dtype=pl.String))[0].tolist())
