"""How long finding near-duplicates among traces takes, and how much memory: signatures and LSH, without tables.

Synthetic traces of about 1.2 KB from four thousand sentences, a tenth of them copies with three words replaced.
`python -m perf.duplicates [TRACES]` prints JSON.
"""

import json
import random
import resource
import sys
import time

import numpy as np
import polars as pl

from lpt.curate import minhash
from perf.compose import WORDS, sentence

BATCH = 10_000


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    rng = random.Random(0)
    vocabulary = [*WORDS, *(f"{one}{other}" for one in WORDS for other in WORDS[:40])]
    stock = [sentence(rng) for _ in range(200)]
    stock += [" ".join(rng.choices(vocabulary, k=14)).capitalize() + "." for _ in range(3800)]
    parts, seconds, planted = [], 0.0, 0
    last: list[str] = []
    for _ in range(0, count, BATCH):
        texts = [" ".join(rng.choices(stock, k=13)) for _ in range(BATCH * 9 // 10)]
        for text in (last or texts)[: BATCH // 10]:
            words = text.split()
            for place in rng.sample(range(len(words)), 3):
                words[place] = "otherwise"
            texts.append(" ".join(words))
            planted += 1
        last = texts
        begun = time.perf_counter()
        parts.append(minhash.signatures(pl.Series(texts)))
        seconds += time.perf_counter() - begun
    signatures = np.concatenate(parts)
    del parts
    begun = time.perf_counter()
    gone = minhash.repeats(signatures, 0.85)
    figures = {
        "traces": len(signatures),
        "planted": planted,
        "found": len(gone),
        "signature_seconds": round(seconds, 1),
        "lsh_seconds": round(time.perf_counter() - begun, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
