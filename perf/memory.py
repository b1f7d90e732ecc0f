"""Peak memory of a whole run at 5,000 and at 100,000 long thoughts: the goal is a ratio ≤ 1.5.

python -m perf.memory            both sizes, each in a process of its own
python -m perf.memory IMAGES     one run, printing its peak
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from perf.images import captioned
from perf.overlap import json_toml
from perf.stub import QUESTIONS, stub

CUES = ("Wait,", "Hmm,", "Alternatively,")
SAMPLES = 3
A_IMAGE = QUESTIONS * SAMPLES * len(CUES) * SAMPLES
"""Long thoughts of one image."""


def one(images: int) -> None:
    """Run `images` images to the end, sets and all, and print the peak of this process's memory."""
    from lpt.curate.compose import compose  # noqa: PLC0415 (part of what is measured)
    from lpt.pipeline import synthesize  # noqa: PLC0415
    from lpt.recipe import Recipe  # noqa: PLC0415

    with stub(words=120) as url, tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as out:
        captioned(Path(folder), images)
        names = ("asker", "student", "reasoner")
        models = {name: {"url": url, "model": name, "prefill": "continue"} for name in names}
        recipe = Recipe.parse(
            json_toml(
                {
                    "captions": {"source": "folder", "path": folder},
                    "models": models,
                    "ask": {"model": "asker"},
                    "think": {"model": "student", "samples": SAMPLES},
                    "think_harder": {"model": "reasoner", "samples": SAMPLES, "cues": list(CUES), "rewinds": 0},
                    "budget": {"mode": "exhaustive"},
                }
            )
        )
        run = synthesize(recipe, out)
        travelled = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        compose(run)
        composed = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"long_thoughts": images * A_IMAGE, "journey_mb": travelled, "peak_mb": composed}))


def main() -> None:
    """Print the figures as JSON."""
    if len(sys.argv) > 1:
        one(int(sys.argv[1]))
        return
    sizes = []
    for long_thoughts in (5_000, 100_000):
        command = [sys.executable, "-m", "perf.memory", str(-(-long_thoughts // A_IMAGE))]
        sizes.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    small, large = sizes
    print(
        json.dumps(
            {"measure": "memory", "runs": sizes, "ratio": large["peak_mb"] / small["peak_mb"], "goal": "<= 1.5"}
        )
    )


if __name__ == "__main__":
    main()
