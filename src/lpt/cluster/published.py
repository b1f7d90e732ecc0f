"""What stands in the folder of a partition, and who may write there.

```
RUN/recipe.toml
RUN/images/                           pictures that were rendered, or came as bytes
RUN/partitions/0003-of-0016/
    claim.json                        who works on it; nobody else publishes
    progress.json                     how far it is, written anew every few seconds
    pieces/000001-CHECKSUM.piece      calls and replies, as they came; never changed
    tables/questions.CHECKSUM.parquet
    done.json                         which tables and pieces are the partition's: it is finished
```

Networks and stores of objects know no locks that can be relied on. So whoever works on a partition leaves a claim
and gives signs of life (`progress.json`); who comes later takes the claim over if there are none. Whoever lost the
claim stops before the next thing that it would publish. Two that write for a moment do no harm: pieces bear their
checksum, and one file, put in place whole, says which tables count.
"""

import os
import re
import socket
import time
from collections.abc import Callable
from typing import Literal, TypeVar

import msgspec

from lpt.cluster.place import Place
from lpt.errors import RunError, StoreError
from lpt.models.recorded import Traffic
from lpt.partition import Partition
from lpt.recipe import Recipe
from lpt.records import digest
from lpt.resume import fingerprint
from lpt.store.manifest import Entry

TICK = 5.0
"""Seconds between two signs of life."""
SILENCE = 30.0
"""Seconds without a sign of life after which a claim may be taken over."""

_PIECE = re.compile(r"\d{6,9}-[0-9a-f]{32}\.piece", re.ASCII)
Read = TypeVar("Read", bound=msgspec.Struct)


class Claim(msgspec.Struct, frozen=True):
    """Who works on a partition."""

    token: str
    host: str
    process: int

    @property
    def who(self) -> str:
        """In words."""
        return f"process {self.process} on {self.host}"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a partition is."""

    state: Literal["running", "stopped", "failed", "finished"]
    who: str
    beat: int
    """Counts up while somebody works on it."""
    images: int = 0
    """Those that have come all the way."""
    of: int | None = None
    """Images of this partition; None while captions are read."""
    source: int = 0
    """Images of all partitions."""
    kept: dict[str, int] = {}
    dropped: dict[str, int] = {}
    traffic: dict[str, Traffic] = {}
    """By model."""
    error: str = ""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished partition made."""

    essence: str
    """A hash of all that its rows depend on, but for the replies."""
    until: str
    limit: int | None
    complete: bool
    """False where what might be spent was spent."""
    images: int
    of: int
    failed: int
    """Samples that are missing because calls failed: asking again may bring them."""
    drops: int
    """Rows of drops that were made at the intake: with them the table of drops begins."""
    tables: dict[str, Entry]
    pieces: list[str]


def essence(recipe: Recipe, until: str, limit: int | None) -> str:
    """A hash of everything that partitions must have in common to be one run: settings, prompts, code.

    Raises:
        UserError: a prompt file or a template cannot be read.
    """
    said = [fingerprint(recipe, until), recipe.captions, recipe.curate.validation, limit]
    return digest("partition", msgspec.json.encode(said, order="deterministic"))


class Published:
    """The folder of a partition."""

    def __init__(self, place: Place, partition: Partition) -> None:
        self.place = place
        self.partition = partition
        self.folder = f"partitions/{partition.name}"

    def _read(self, name: str, kind: type[Read]) -> Read | None:
        data = self.place.read(f"{self.folder}/{name}")
        if data is None:
            return None
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise StoreError(
                f"{self.place}/{self.folder}/{name} cannot be read ({error}): take the file away and run the "
                "partition again; no reply is asked for twice"
            ) from error

    def write(self, name: str, value: msgspec.Struct) -> None:
        """Put a file in place."""
        self.place.write(f"{self.folder}/{name}", msgspec.json.encode(value))

    @property
    def claim(self) -> Claim | None:
        """Who works on it."""
        return self._read("claim.json", Claim)

    @property
    def progress(self) -> Progress | None:
        """How far it is; None where nobody has begun."""
        return self._read("progress.json", Progress)

    @property
    def done(self) -> Done | None:
        """What it made; None where it is not finished."""
        return self._read("done.json", Done)

    def pieces(self) -> list[str]:
        """The names of its pieces, in the order in which they were published."""
        return [name for name in self.place.names(f"{self.folder}/pieces") if _PIECE.fullmatch(name)]

    def take(self, *, over: bool, say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep) -> Claim:
        """Claim it for this process.

        Args:
            over: whoever had it is known to be dead.
            say: is told if that takes a while.
            sleep: waits.

        Raises:
            RunError: somebody else works on it.
        """
        claim = Claim(os.urandom(8).hex(), socket.gethostname(), os.getpid())
        before = self.claim
        if before and not over and not _dead(before):
            say(f"partition {self.partition} is claimed by {before.who}: waiting {SILENCE:g} s for a sign of life")
            at, waited = self.progress, 0.0
            while waited < SILENCE:
                sleep(1.0)
                waited += 1.0
                if self.claim is None:
                    break
                if self.claim != before or self.progress != at:
                    raise RunError(
                        f"partition {self.partition} of {self.place} is being worked on by {before.who}: wait for "
                        "it, or stop it"
                    )
        self.write("claim.json", claim)
        return claim

    def holds(self, claim: Claim) -> bool:
        """Whether the claim is still ours."""
        return self.claim == claim

    def release(self, claim: Claim) -> None:
        """Let go of it."""
        if self.holds(claim):
            self.place.remove(f"{self.folder}/claim.json")


def _dead(claim: Claim) -> bool:
    """Whether a process is known to have ended."""
    if claim.host != socket.gethostname():
        return False
    try:
        os.kill(claim.process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return claim.process == os.getpid()


def partitions(place: Place) -> int | None:
    """Of how many partitions a run is; None where none has begun.

    Raises:
        RunError: of several numbers.
    """
    found = {there.of for name in place.names("partitions") if (there := Partition.named(name))}
    if len(found) > 1:
        raise RunError(f"{place} was begun in {' and in '.join(map(str, sorted(found)))} partitions: keep one kind")
    return found.pop() if found else None
