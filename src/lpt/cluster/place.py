"""Where a run is published: a folder that all machines see, on a disk or behind any URL that fsspec knows.

A file appears under its name when it is whole, or not at all.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from lpt.errors import StoreError, UserError


class Place(Protocol):
    """A folder of files. Names are relative to it, with forward slashes."""

    def __str__(self) -> str: ...

    def read(self, name: str) -> bytes | None:
        """A file; None where there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Put a file in place of whatever is there."""

    def put(self, name: str, source: Path) -> None:
        """Put a copy of a local file in place."""

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file to a local one."""

    def names(self, folder: str) -> list[str]:
        """What a folder holds, sorted; nothing where there is none. Unfinished files are left out."""

    def remove(self, name: str) -> None:
        """Take a file away, if it is there."""


def is_url(place: str) -> bool:
    """Whether this is a URL and no path."""
    return "://" in place


def open_place(place: str | Path) -> Place:
    """The place of a path or URL.

    Raises:
        UserError: it is a URL, and fsspec, or what it needs for such URLs, is not installed.
    """
    return Remote(str(place)) if is_url(str(place)) else Folder(Path(place))


@contextlib.contextmanager
def _failing(what: object) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{what} failed ({error.strerror or error}): see to the disk and run the same command again; nothing "
            "that was published is asked for twice"
        ) from error


class Folder:
    """A folder on a disk: local, or shared by network."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def read(self, name: str) -> bytes | None:
        """A file; None where there is none."""
        with _failing(self.path / name):
            try:
                return (self.path / name).read_bytes()
            except FileNotFoundError:
                return None

    def write(self, name: str, data: bytes) -> None:
        """Put a file in place of whatever is there."""
        path = self.path / name
        with _failing(path), self._part(path) as part, part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def put(self, name: str, source: Path) -> None:
        """Put a copy of a local file in place."""
        path = self.path / name
        with _failing(path), self._part(path) as part, source.open("rb") as given, part.open("wb") as file:
            shutil.copyfileobj(given, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file to a local one."""
        with _failing(self.path / name):
            shutil.copyfile(self.path / name, target)

    def names(self, folder: str) -> list[str]:
        """What a folder holds, sorted; nothing where there is none."""
        with _failing(self.path / folder):
            try:
                return sorted(e.name for e in (self.path / folder).iterdir() if not e.name.endswith(".part"))
            except FileNotFoundError:
                return []

    def remove(self, name: str) -> None:
        """Take a file away, if it is there."""
        with _failing(self.path / name):
            (self.path / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _part(self, path: Path) -> Iterator[Path]:
        """A file beside it, of nobody else, which takes its place at the end."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


class Remote:
    """A folder behind a URL, by fsspec. Stores of objects show a file when it is whole; elsewhere it is renamed."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        try:
            import fsspec  # noqa: PLC0415 (an extra)

            self._system: Any
            self._system, self._root = fsspec.core.url_to_fs(self._url)
        except ImportError as error:
            raise UserError(
                f"{url} needs {error.name or 'a package'} (fsspec reaches such places): "
                "pip install 'long-perceptual-thoughts[ray]', and what fsspec asks for beside it, such as s3fs"
            ) from error
        except ValueError as error:
            raise UserError(f"{url} cannot be used: {error}") from error

    def __str__(self) -> str:
        return self._url

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}".rstrip("/")

    def read(self, name: str) -> bytes | None:
        """A file; None where there is none."""
        with _failing(f"{self}/{name}"):
            try:
                data: bytes = self._system.cat_file(self._at(name))
            except FileNotFoundError:
                return None
            return data

    def write(self, name: str, data: bytes) -> None:
        """Put a file in place of whatever is there."""
        with _failing(f"{self}/{name}"), self._part(name) as part:
            self._system.pipe_file(part, data)

    def put(self, name: str, source: Path) -> None:
        """Put a copy of a local file in place."""
        with _failing(f"{self}/{name}"), self._part(name) as part:
            self._system.put_file(str(source), part)

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file to a local one."""
        with _failing(f"{self}/{name}"):
            self._system.get_file(self._at(name), str(target))

    def names(self, folder: str) -> list[str]:
        """What a folder holds, sorted; nothing where there is none."""
        self._system.invalidate_cache()
        with _failing(f"{self}/{folder}"):
            try:
                found = self._system.ls(self._at(folder), detail=False)
            except FileNotFoundError:
                return []
        own = (str(path).rstrip("/").rpartition("/")[2] for path in found)
        return sorted(name for name in own if not name.endswith(".part"))

    def remove(self, name: str) -> None:
        """Take a file away, if it is there."""
        with _failing(f"{self}/{name}"), contextlib.suppress(FileNotFoundError):
            self._system.rm_file(self._at(name))

    @contextlib.contextmanager
    def _part(self, name: str) -> Iterator[str]:
        path = self._at(name)
        folder, _, last = path.rpartition("/")
        protocols = self._system.protocol
        if not {"file", "local", "sftp", "ssh", "smb", "hdfs"} & {protocols, *protocols}:
            yield path  # an object is there when all of it is
            return
        self._system.makedirs(folder, exist_ok=True)
        part = f"{folder}/.{last}.{secrets.token_hex(6)}.part"
        yield part
        self._system.mv(part, path)
