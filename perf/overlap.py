"""Three models of equal total work: the wall-clock of a run beside that of its busiest model alone.

Every model takes `IN_FLIGHT` choices at once. What one image asks of each costs the same time in total, so a run
with barriers between stages would take three times as long as the busiest model alone; the goal is ≤ 1.15 times.
"""

import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from lpt.pipeline import synthesize
from lpt.recipe import Recipe
from perf.images import captioned
from perf.stub import QUESTIONS, stub

IN_FLIGHT = 32
SAMPLES = 2
CUES = ("Wait,", "Hmm,")
CHOICES = {
    "asker": 1,
    "student": QUESTIONS * SAMPLES,
    "reasoner": QUESTIONS * SAMPLES * len(CUES) * SAMPLES,
}
SECONDS_AN_IMAGE = 1.6
"""Of every model's time: 1.6 s for one set of questions, 50 ms for each long thought."""


def run(folder: Path, slow: set[str], images: int) -> float:
    """Seconds that a run takes when only the models in `slow` take their time."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as out:
        models = {}
        for name, choices in CHOICES.items():
            latency = SECONDS_AN_IMAGE / choices if name in slow else 0.0
            url = stack.enter_context(stub(latency, IN_FLIGHT))
            models[name] = {"url": url, "model": name, "concurrency": 2 * IN_FLIGHT, "prefill": "continue"}
        recipe = Recipe.parse(
            json_toml(
                {
                    "captions": {"source": "folder", "path": str(folder)},
                    "models": models,
                    "ask": {"model": "asker"},
                    "think": {"model": "student", "samples": SAMPLES},
                    "think_harder": {"model": "reasoner", "samples": SAMPLES, "cues": list(CUES), "rewinds": 0},
                    "budget": {"mode": "exhaustive"},
                }
            )
        )
        began = time.perf_counter()
        synthesize(recipe, out, limit=images)
        return time.perf_counter() - began


def json_toml(data: dict[str, object], path: str = "") -> str:
    """A nested dict of plain values as TOML."""
    plain = "".join(f"{key} = {json.dumps(value)}\n" for key, value in data.items() if not isinstance(value, dict))
    head = f"[{path}]\n" if path and plain else ""
    tables = [
        json_toml(value, f"{path}.{key}".lstrip(".")) for key, value in data.items() if isinstance(value, dict)
    ]
    return head + plain + "".join(tables)


def main() -> None:
    """Print the figures as JSON."""
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with tempfile.TemporaryDirectory() as folder:
        captioned(Path(folder), images)
        alone = {name: run(Path(folder), {name}, images) for name in CHOICES}
        together = run(Path(folder), set(CHOICES), images)
    busiest = max(alone.values())
    print(
        json.dumps(
            {
                "measure": "overlap",
                "images": images,
                "seconds_alone": alone,
                "seconds_together": together,
                "ratio": together / busiest,
                "goal": "<= 1.15",
            }
        )
    )


if __name__ == "__main__":
    main()
