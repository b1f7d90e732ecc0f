"""Feed one reader with damaged files until the time is up: `python scripts/fuzz/one.py READER SECONDS FOUND`.

Where atheris can be imported it says which damage leads to new code, and such files become the next ones to be
damaged; elsewhere they are drawn from the seeds alone. An input that the reader cannot take, or that takes it more
than half a minute, is kept in the folder FOUND and ends the reading with status 1. The last line is a count.
"""

# ruff: noqa: PLC0415 - atheris must be there before what it instruments

import importlib.util
import logging
import random
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

_HANGS_SECONDS = 30
_MEMORY = 6 << 30
"""Bytes of address space: less than a file of a few hundred kilobytes can have reason to ask for."""


class Hangs(BaseException):
    """A reader is still reading. No reader may catch it."""


def main() -> None:
    """Run it."""
    name, seconds, found = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
    logging.disable()  # a damaged ledger is told of each time
    if importlib.util.find_spec("atheris"):
        guided(name, seconds, found)
    else:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        unguided(name, seconds, found)


def _overdue(_: int, __: FrameType | None) -> None:
    raise Hangs(f"it reads for more than {_HANGS_SECONDS} seconds")


def unguided(name: str, seconds: float, found: Path) -> None:
    """Damage the seeds, each time anew; what is tried depends on the name alone, how much of it on the time."""
    from tests.hostile.damage import damaged
    from tests.hostile.readers import READERS
    from tests.hostile.seeds import SEEDS

    signal.signal(signal.SIGALRM, _overdue)
    end = time.monotonic() + seconds
    count = 0
    slowest = 0.0
    while time.monotonic() < end:
        chance = random.Random(f"{name} {count}")
        data = damaged(chance.choice(SEEDS[name]), chance, SEEDS[name])
        count += 1
        began = time.monotonic()
        signal.alarm(_HANGS_SECONDS)
        try:
            READERS[name](data)
        except (Exception, Hangs):  # noqa: BLE001 (each is a finding)
            signal.alarm(0)
            traceback.print_exc()
            kept = found / f"{name.replace('/', '_').replace(' ', '-')}-{count}"
            kept.write_bytes(data)
            print(f"{name}: {count:,} readings, then {kept}", flush=True)
            sys.exit(1)
        signal.alarm(0)
        slowest = max(slowest, time.monotonic() - began)
    print(f"{name}: {count:,} readings, the slowest {slowest:.2f} s", flush=True)


def guided(name: str, seconds: float, found: Path) -> None:
    """Let libFuzzer look for damage that leads to new code."""
    import atheris  # type: ignore[import-not-found,unused-ignore]

    with atheris.instrument_imports(include=["lpt", "csv", "json", "tomllib", "jinja2"]):
        from tests.hostile.damage import damaged
        from tests.hostile.readers import READERS
        from tests.hostile.seeds import SEEDS

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.4:
            return bytes(atheris.Mutate(data, most))
        return damaged(data, chance, SEEDS[name])[:most]

    stem = name.replace("/", "_").replace(" ", "-")
    corpus = found / "corpus" / stem
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(SEEDS[name]):
        (corpus / f"seed{number}").write_bytes(data)
    options = {
        "max_total_time": max(1, int(seconds)),
        "timeout": _HANGS_SECONDS,
        "rss_limit_mb": _MEMORY >> 20,
        "max_len": 400_000,
        "artifact_prefix": f"{found}/{stem}-",
        "print_final_stats": 1,
        "verbosity": 0,
    }
    flags = [f"-{option}={value}" for option, value in options.items()]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], READERS[name], custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
