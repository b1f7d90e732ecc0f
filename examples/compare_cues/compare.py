"""Two cues on the very same thoughts: what each puts right, spoils, and gives away.

python examples/compare_cues/compare.py [OUT]
"""

import sys
from pathlib import Path

import polars as pl

import lpt

CUES = ("Wait,", "Alternatively,")


def main(out: Path) -> None:
    """Make one run for each cue and print a line about it."""
    print(f"{'cue':<16}{'long thoughts':>14}{'X→O':>6}{'O→X':>6}{'leaks':>7}{'characters':>12}")
    for cue in CUES:
        recipe = lpt.Recipe.load(
            Path(__file__).with_name("recipe.toml"),
            [f'think_harder.cues=["{cue}"]', f'ledger="{out / "ledger.sqlite"}"'],
        )
        run = lpt.synthesize(recipe, out / cue.strip(",").lower())
        lpt.compose(run)
        long = run.table("long_thoughts").filter(pl.col("letter").is_not_null()).collect()
        mended = long.filter(before="wrong", verdict="correct").height
        spoilt = long.filter(before="correct", verdict="wrong").height
        leaks = sum(drop.reason == "leak" for drop in run.drops())
        length = long["continuation"].str.len_chars().sum() / long.height
        print(f"{cue:<16}{long.height:>14}{mended:>6}{spoilt:>6}{leaks:>7}{length:>12.0f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/compare_cues").resolve())
