"""Rows on their way into files: one at a time, and each file under its name only when all are whole."""

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

import msgspec

from lpt.errors import StoreError


class RowFiles:
    """A few JSON or JSON-lines files in one folder, opened when their first row comes.

    Nothing is put in place before the end of a `with` block; an exception leaves what was there before as it was.
    The same rows in the same order give the same bytes.
    """

    def __init__(self, folder: Path, kind: Literal["json", "jsonl"]) -> None:
        self.folder = folder
        self.counts: dict[str, int] = {}
        self._kind = kind
        self._files: dict[str, BinaryIO] = {}
        self._encoder = msgspec.json.Encoder()

    def __enter__(self) -> "RowFiles":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        else:
            self._abandon()

    def path(self, name: str) -> Path:
        """Where a set is, or would be."""
        return self.folder / f"{name}.{self._kind}"

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that have rows, by name."""
        return tuple(self.path(name) for name in sorted(self.counts))

    def write(self, name: str, row: dict[str, Any]) -> None:
        """Add a row to a set.

        Raises:
            StoreError: the disk would not take it.
        """
        try:
            file = self._files.get(name)
            if file is None:
                file = self._files[name] = self._part(name).open("wb")
            first = not self.counts.get(name)
            if self._kind == "json":
                file.write(b"[\n" if first else b",\n")
                file.write(self._encoder.encode(row))
            else:
                file.write(self._encoder.encode(row) + b"\n")
            self.counts[name] = self.counts.get(name, 0) + 1
        except OSError as error:
            raise StoreError(f"{self.path(name)} could not be written: {error.strerror or error}") from error

    def _part(self, name: str) -> Path:
        path = self.path(name)
        return path.with_name(f".{path.name}.part")

    def _finish(self) -> None:
        try:
            for file in self._files.values():
                if self._kind == "json":
                    file.write(b"\n]\n")
                file.flush()
                os.fsync(file.fileno())
                file.close()
            for name in self._files:
                self._part(name).replace(self.path(name))
        except OSError as error:
            self._abandon()
            raise StoreError(
                f"the sets in {self.folder} could not be written: {error.strerror or error}"
            ) from error

    def _abandon(self) -> None:
        for name, file in self._files.items():
            with contextlib.suppress(OSError):
                file.close()
            self._part(name).unlink(missing_ok=True)


def put(path: Path, data: bytes) -> Path:
    """Write a small file whole, or not at all.

    Raises:
        StoreError: the disk would not take it.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"{path} could not be written: {error.strerror or error}") from error
    return path
