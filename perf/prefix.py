"""Prefix caches: what a small one hits of what an endless one would, over a whole run.

The simulated server keeps a paged cache as vLLM does, and reports the tokens that it found in it. The same run is
made twice, against an endless cache and against one that holds 1 % of the run's prompt tokens; servers have few
places, so that requests queue, as they do on a real one.

    python -m perf.prefix [IMAGES]
"""

import json
import sys
import tempfile
from pathlib import Path

import lpt
from lpt.look.spending import opened, spending

_DEMO = Path(__file__).resolve().parent.parent / "recipes" / "demo.toml"
_ENDLESS = 1 << 30
_BLOCK = 16
_PLACES = 16


def run(images: int, blocks: int, out: Path, *overrides: str) -> dict[str, tuple[int, int]]:
    """Prompt tokens, and how many of them were found in the cache, by stage."""
    sim = f"lpt sim --port {{port}} --dial cache_blocks={blocks} --dial concurrency={_PLACES} --dial latency=0.002"
    launches = [f"models.{name}.launch={json.dumps(sim)}" for name in ("asker", "student", "reasoner")]
    made = lpt.synthesize(lpt.Recipe.load(_DEMO, [f"captions.count={images}", *launches, *overrides]), out)
    with opened(made) as ledger:
        return {
            str(row["stage"]): (int(row["prompt_tokens"]), int(row["cached_tokens"]))
            for row in spending(made, ledger)
        }


def main() -> None:
    """Print the figures as JSON."""
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    figures: dict[str, object] = {"measure": "prefix", "images": images, "goal": ">= 0.90 of the hits"}
    for mode in ("quota", "exhaustive"):
        with tempfile.TemporaryDirectory() as folder:
            way = f'budget.mode="{mode}"'
            endless = run(images, _ENDLESS, Path(folder) / "endless", way)
            total = sum(prompt for prompt, _ in endless.values())
            blocks = max(1, total // 100 // _BLOCK)
            small = run(images, blocks, Path(folder) / "small", way)
        found = sum(cached for _, cached in small.values())
        figures[mode] = {
            "prompt_tokens": total,
            "tokens_in_the_small_cache": blocks * _BLOCK,
            "share_found_endless": round(sum(cached for _, cached in endless.values()) / total, 4),
            "share_found_small": round(found / total, 4),
            "by_stage": {
                stage: round(small[stage][1] / max(1, cached), 4) for stage, (_, cached) in endless.items()
            },
            "ratio": round(found / sum(cached for _, cached in endless.values()), 4),
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
