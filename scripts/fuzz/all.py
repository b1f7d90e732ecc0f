"""Feed every reader with damaged files, FUZZ_SECONDS in all (an hour): `make fuzz`.

One process at a time, at the lowest priority. What cannot be read as it should be is kept in runs/fuzz; add it to
the cases in tests/hostile once it is mended. Words after the command choose readers whose names hold one of them.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.hostile.readers import READERS  # noqa: E402 (the tests are no package that is installed)

_QUIET = os.environ | {"RUST_BACKTRACE": "0"}
"""polars tells of each damaged page on its own."""


def main() -> int:
    """Run all, or those whose names hold a word that is given; the exit status."""
    total = float(os.environ.get("FUZZ_SECONDS") or 3600)
    names = [name for name in READERS if not sys.argv[1:] or any(word in name for word in sys.argv[1:])]
    found = ROOT / "runs" / "fuzz"
    found.mkdir(parents=True, exist_ok=True)
    one = str(Path(__file__).with_name("one.py"))
    failed = []
    os.nice(19)
    for name in names:
        log = found / f"{name.replace('/', '_').replace(' ', '-')}.log"
        with log.open("wb") as file:
            command = [sys.executable, one, name, str(total / len(names)), str(found)]
            status = subprocess.run(  # noqa: S603 (ourselves)
                command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, env=_QUIET, check=False
            ).returncode
        lines = log.read_text(errors="replace").splitlines()
        told = [line for line in lines if line.startswith((f"{name}:", "stat::number_of_executed", "SUMMARY"))]
        print(
            f"{name}: {'; '.join(told[-3:]) or 'no word'}{f' (status {status}: {log})' if status else ''}",
            flush=True,
        )
        failed += [name] if status else []
    print(f"{len(names) - len(failed)} of {len(names)} readers took everything", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
