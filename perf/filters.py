"""How well each filter finds what it is for, where the truth is known: precision, recall, and what it costs.

Runs of scenes against `lpt sim` with its error dials turned, verified and compared with the scenes' truth:

disagree       finds wrong labels: the marked answer is not the scene's
blind          finds giveaways: the right option is written in another form than the rest
inconsistent   finds long thoughts that state another answer than they come to: known by making each run a second
               time with that dial at rest, which leaves every word of a thought and changes its answer back
near_duplicate finds traces of a Jaccard similarity of at least the setting's, counted pair by pair: a fifth of them
               are copies planted here, with one to twelve words replaced

`python -m perf.filters [SCENES]` prints a table, then JSON. About five minutes on two cores.
"""

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl

from lpt.curate import minhash
from lpt.look.noise import mislabelled
from lpt.pipeline import synthesize
from lpt.recipe import Recipe
from lpt.store.run import Run
from lpt.verification import verify

ROLES = ("asker", "student", "reasoner", "expert", "judge")
WRONG = (0.03, 0.1, 0.2)


@contextmanager
def sim(**dials: float) -> Iterator[str]:
    """A simulated server with dials; its URL."""
    settings = [part for name, value in dials.items() for part in ("--dial", f"{name}={value}")]
    child = subprocess.Popen(
        [sys.executable, "-m", "lpt", "sim", *settings],
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdout
    try:
        yield child.stdout.readline().strip()
    finally:
        child.terminate()
        child.wait()
        child.stdout.close()


def recipe(url: str, scenes: int, *overrides: str) -> Recipe:
    models = "".join(f'[models.{name}]\nmodel = "{name}"\nurl = "{url}"\n' for name in ROLES)
    text = f"""
        [captions]
        count = {scenes}
        [ask]
        model = "asker"
        [think]
        model = "student"
        samples = 2
        [think_harder]
        model = "reasoner"
        samples = 2
        """
    return Recipe.parse(text + models, overrides=overrides)


def score(found: set[str], bad: set[str], every: set[str]) -> dict[str, float]:
    """Precision, recall, and the share of good ones that are lost."""
    hits, good = len(found & bad), every - bad
    return {
        "records": len(every),
        "bad": len(bad),
        "found": len(found),
        "precision": round(hits / max(1, len(found)), 3),
        "recall": round(hits / max(1, len(bad)), 3),
        "good_lost": round(len(found & good) / max(1, len(good)), 3),
        "bad_before": round(len(bad) / max(1, len(every)), 4),
        "bad_after": round(len(bad - found) / max(1, len(every - found)), 4),
    }


def values(run: Run, check: str) -> dict[str, float]:
    rows = run.table("judgements").filter((pl.col("check") == check) & (pl.col("outcome") == "judged"))
    return dict(rows.select("record", "value").collect().iter_rows())


def disagree(folder: Path, scenes: int) -> list[dict[str, Any]]:
    """Wrong labels, at three shares of them, by the expert and by the student itself."""
    out = []
    for wrong in WRONG:
        for who in ("expert", "student"):
            with sim(wrong_answer=wrong) as url:
                ledger = f'ledger="{folder}/disagree-{wrong}.db"'
                asked = recipe(url, scenes, f"verify.disagree.model={who}", ledger)
                path = folder / f"disagree-{wrong}-{who}"
                run = verify(synthesize(asked, path, until="ask"))
            judged = values(run, "disagree")
            bad = mislabelled(run) & set(judged)
            accuracy = 1 - score({r for r, v in judged.items() if v > 0}, bad, set(judged))["good_lost"]
            for margin in (0.0, 0.5, 0.99):
                # Above 0.99 nobody but the threshold's own edge is left: all replies name one other option.
                found = {r for r, v in judged.items() if (v > margin if margin < 0.99 else v >= 0.99)}
                setting = f"wrong_answer={wrong} · {who} (agrees with {accuracy:.0%} of right labels)"
                row = score(found, bad, set(judged))
                out.append({"filter": "disagree", "setting": setting, "threshold": margin, **row})
    return out


def blind(folder: Path, scenes: int) -> list[dict[str, Any]]:
    """Giveaways, by the share of right answers without the image; 4 and 8 times asked."""
    out = []
    for samples in (4, 8):
        with sim(giveaway=0.15) as url:
            asked = recipe(url, scenes, "verify.blind.model=student", f"verify.blind.samples={samples}")
            run = verify(synthesize(asked, folder / f"blind-{samples}", until="ask"))
        judged = values(run, "blind")
        options = run.table("questions").select("id", "options").collect()
        bad = {id_ for id_, texts in options.iter_rows() if sum(text.endswith(".") for text in texts) == 1}
        for share in (0.5, 0.75, 1.0):
            found = {r for r, v in judged.items() if v >= share}
            row = score(found, bad & set(judged), set(judged))
            out.append(
                {"filter": "blind", "setting": f"giveaway=0.15 · asked {samples} times", "threshold": share, **row}
            )
    return out


def inconsistent(folder: Path, scenes: int) -> list[dict[str, Any]]:
    """Traces that state another answer than they come to, by judges of several qualities."""
    with sim(inconsistent=0.0) as url:
        calm = synthesize(recipe(url, scenes), folder / "calm")
    truth = stated(calm)
    out = []
    for share, misread, samples in (
        (0.05, 0.05, 1),
        (0.05, 0.05, 3),
        (0.05, 0.15, 3),
        (0.2, 0.05, 1),
        (0.2, 0.05, 3),
    ):
        with sim(inconsistent=share, judge_wrong=misread) as url:
            asks = ("verify.consistency.model=judge", f"verify.consistency.samples={samples}")
            # Another judge under the same name: the ledger is to know the one from the other.
            told = (
                f'models.judge.version="{misread}"',
                f"verify.consistency.temperature={0.7 if samples > 1 else 0.0}",
            )
            run = verify(synthesize(recipe(url, scenes, *asks, *told), folder / f"inconsistent-{share}"))
        judged = values(run, "consistency")
        names = {name: id_ for id_, name in identities(run)}
        bad = {names[key] for key, letter in stated(run).items() if truth.get(key, letter) != letter} & set(judged)
        found = {r for r, v in judged.items() if v < 0.5}
        setting = f"inconsistent={share} · judge_wrong={misread}, asked {samples} times"
        row = score(found, bad, set(judged))
        out.append({"filter": "inconsistent", "setting": setting, "threshold": 0.5, **row})
    return out


def identities(run: Run) -> list[tuple[str, tuple[str, str, int]]]:
    rows = run.table("long_thoughts").select("id", "thought", "cue", "index").collect()
    return [(id_, (thought, cue, index)) for id_, thought, cue, index in rows.iter_rows()]


def stated(run: Run) -> dict[tuple[str, str, int], str]:
    """The answer that each long thought states, by what it continues."""
    rows = run.table("long_thoughts").select("thought", "cue", "index", "letter").drop_nulls().collect()
    return {(thought, cue, index): letter for thought, cue, index, letter in rows.iter_rows()}


def near_duplicate(run: Run, similarity: float) -> dict[str, Any]:
    """What MinHash drops among traces and planted copies, against the similarity itself, pair by pair."""
    rng = random.Random(0)
    texts = run.table("long_thoughts").select("continuation").collect()["continuation"].to_list()[:800]
    for text in texts[::5]:
        words = text.split()
        for _ in range(rng.randint(1, 12)):
            words[rng.randrange(len(words))] = rng.choice(("small", "green", "perhaps", "left"))
        texts.append(" ".join(words))
    rng.shuffle(texts)
    found = set(minhash.repeats(minhash.signatures(pl.Series(texts)), similarity))
    words_of = [minhash.runs(text) for text in texts]
    bad: set[int] = set()
    for one, other in combinations(range(len(texts)), 2):
        both = words_of[one], words_of[other]
        if one not in bad and other not in bad and len(both[0] & both[1]) >= similarity * len(both[0] | both[1]):
            bad.add(other)
    names = {kind: {str(row) for row in rows} for kind, rows in (("found", found), ("bad", bad))}
    row = score(names["found"], names["bad"], {str(row) for row in range(len(texts))})
    return {"filter": "near_duplicate", "setting": "against all pairs", "threshold": similarity, **row}


def main() -> None:
    scenes = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rows = disagree(folder, scenes) + blind(folder, scenes) + inconsistent(folder, scenes)
        rows += [near_duplicate(Run.open(folder / "calm"), at) for at in (0.75, 0.85)]
    for row in rows:
        cells = (
            f"{row['filter']:<15}{row['setting']:<75}{row['threshold']:<6}",
            f"bad {row['bad']}/{row['records']}",
        )
        print(
            *cells,
            f"precision {row['precision']:.2f} recall {row['recall']:.2f} good lost {row['good_lost']:.1%}",
            f"bad {row['bad_before']:.1%} -> {row['bad_after']:.1%}",
        )
    print(json.dumps({"scenes": scenes, "rows": rows}))


if __name__ == "__main__":
    main()
