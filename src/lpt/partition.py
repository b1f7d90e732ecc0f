"""A partition: a contiguous range of image hashes, the same on every machine.

All tables are ordered by image hash, so the tables of partitions, one after another, are the tables of the whole.
Which partition an image belongs to is a function of its hash alone: machines need not talk to agree.
"""

import re
from collections.abc import Iterator

import msgspec

from lpt.errors import UserError
from lpt.records import Caption, Drop

_DIGITS = 16
MOST = 9999
"""Partitions of a run at most: what their names have room for."""
_NAME = re.compile(r"(\d{4})-of-(\d{4})")


class Partition(msgspec.Struct, frozen=True):
    """One of `of` ranges that together hold every hash once. `index` counts from 0."""

    index: int
    of: int

    @staticmethod
    def parse(text: str) -> "Partition":
        """Read `I/N`.

        Raises:
            UserError: it is not of that form, or there is no such partition.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip(), re.ASCII)
        if not found:
            raise UserError(f'--partition is "{text}"; write it as I/N, such as 3/16, I counted from 0')
        index, of = int(found[1]), int(found[2])
        if not 1 <= of <= MOST:
            raise UserError(f"--partition {text}: a run has from 1 to {MOST} partitions")
        if index >= of:
            raise UserError(f"--partition {text}: they are counted from 0, so the last one is {of - 1}/{of}")
        return Partition(index, of)

    @staticmethod
    def named(name: str) -> "Partition | None":
        """The partition of a folder's name; None where it is no such name."""
        found = _NAME.fullmatch(name)
        return Partition(int(found[1]), int(found[2])) if found and int(found[1]) < int(found[2]) else None

    @staticmethod
    def all(of: int) -> "Iterator[Partition]":
        """All of them, in their order, which is that of the hashes."""
        return (Partition(index, of) for index in range(of))

    @property
    def name(self) -> str:
        """The name of its folder: `0003-of-0016`."""
        return f"{self.index:04}-of-{self.of:04}"

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    def holds(self, image: str) -> bool:
        """Whether a hash (32 hexadecimal digits) lies in this range."""
        return int(image[:_DIGITS], 16) * self.of >> 4 * _DIGITS == self.index


class Sieve:
    """Lets through what belongs to one partition, and counts everything.

    Every partition reads the whole source: which of two rows of one name counts is decided by the rows before.
    """

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.captions = 0
        """Captions of the whole source so far."""
        self.told = 0
        """Those of them that have words."""
        self.drops = 0
        """Drops of the intake that were let through: with them the partition's table of drops begins."""

    def keeps(self, item: Caption | Drop) -> bool:
        """Whether a caption, or a drop of the intake, is this partition's.

        Drops of the intake are not of an image always. Their table begins with them, by their ids, which are
        hashes: so a range of ids keeps their order, too.
        """
        if isinstance(item, Drop):
            kept = self.partition.holds(item.id)
            self.drops += kept
            return kept
        self.captions += 1
        self.told += bool(item.text)
        return self.partition.holds(item.image)
