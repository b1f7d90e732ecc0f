"""Ask a model how often traces show each behaviour: one call a behaviour and trace (paper, section 5).

The calls go through the ordinary models and the ledger, so nothing is asked twice. A reply that does not hold one
number, or that never came, leaves the trace *uncounted* for that behaviour, which is never zero.
"""

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from lpt.analyze.behaviours import BEHAVIOURS, Behaviour, count
from lpt.analyze.traces import Source
from lpt.errors import Interrupted, ModelError, StoreError, UserError
from lpt.models.base import Choice, Message, Model, Request, Sampling, seed_of
from lpt.models.fleet import Fleet
from lpt.models.recorded import Recorded
from lpt.pipeline import stopping_at_ctrl_c
from lpt.recipe import Recipe
from lpt.records import digest
from lpt.settings import ModelSettings, SampledSettings
from lpt.store.ledger import Ledger
from lpt.store.lock import held
from lpt.synthesis import prompts
from lpt.synthesis.journey import journey, together

STAGE: Final = "analyze behaviours"
FILE: Final = "behaviours.judged.parquet"
COLUMNS: Final = {
    "trace": pl.String,
    "image": pl.String,
    "category": pl.String,
    "behaviour": pl.String,
    "outcome": pl.String,  # counted | unparsed | failed
    "count": pl.Int64,
    "phrases": pl.Int64,
    "said": pl.String,
    "model": pl.String,
    "reply": pl.String,
}
"""The columns of what a judge counted."""

DEFINITIONS: Final[dict[Behaviour, str]] = {
    "verification": (
        "verification. The thinker checks something that was said or concluded before: against the picture, "
        "against the question, or by going through it again."
    ),
    "backtracking": (
        "backtracking. The thinker gives up, takes back, or calls into question an earlier claim or line of "
        "thought, and turns to another."
    ),
    "subgoals": (
        "subgoal setting. The thinker names a smaller task that is to be done next on the way to the answer, such "
        "as what has to be found, looked at, counted or compared."
    ),
    "backward_chaining": (
        "backward chaining. The thinker starts from a possible answer and works back to what would have to be "
        "true, or to be seen, if it were right; ruling an option out in this way counts, too."
    ),
    "regions": (
        "looking at a region. The thinker turns to a certain place in the picture, named by its position in the "
        "picture or relative to something else in it. Each place counts once, however often it is named."
    ),
}
SAMPLING: Final = SampledSettings(temperature=0.0, max_tokens=1024)
_IN_FLIGHT: Final = 64
_COUNT = re.compile(r"<count>\s*(\d{1,4})\s*</count>", re.IGNORECASE)
_NOTHING: Final = "(nothing: the passage is the beginning)"


class Trace(NamedTuple):
    """A trace to be judged: what counts, and what came before it."""

    id: str
    image: str
    category: str
    before: str
    passage: str


class Judge(NamedTuple):
    """Who is asked, and how."""

    model: Model
    name: str
    template: str
    seed: int


def judge(
    source: Source,
    model: str,
    *,
    out: Path | None = None,
    sample: int = 200,
    recipe: Path | None = None,
    overrides: Sequence[str] = (),
    prompt: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> pl.DataFrame:
    """Ask a model of a recipe about the traces of a source, and keep what it counted beside the results.

    Args:
        source: whose traces.
        model: the name of a model of the recipe.
        out: where results and, for what is no run, the ledger go; by default the source's own place.
        sample: so many traces, drawn evenly over categories; 0: all.
        recipe: a recipe whose models are known, too; needed where the source is no run.
        overrides: `key.path=value` of the recipe.
        prompt: a prompt file in place of ours, with {behaviour}, {before} and {passage}.
        say: is told what is to be known while it goes on.

    Raises:
        UserError: no such model, nowhere to keep a ledger, or a prompt that cannot be used.
        ModelError: the model refuses everything, or has gone.
        Interrupted: Ctrl-C; what was answered is kept in the ledger.
    """
    home = out or source.home
    if home is None:
        raise UserError(f"{source.path} is a file: say with --out FOLDER where the judge's replies are kept")
    models = models_of(source, recipe, overrides, "--judge")
    if model not in models:
        known = ", ".join(sorted(models)) or "none"
        raise UserError(f'--judge "{model}" is no model of the recipe ({known}); --recipe FILE brings others')
    words = prompts.load(
        "analyze.judge", str(prompt) if prompt else None, ("behaviour", "before", "passage"), "lpt.analyze.prompts"
    )
    traces = drawn(source.batches(), sample)
    run = source.run if source.kind == "run" or source.path.is_dir() else None
    ledger = run.ledger_path if run else home / "ledger.sqlite"
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{home} cannot be written: {error.strerror or error}") from error
    say(f"{len(traces):,} traces, {len(traces) * len(BEHAVIOURS):,} calls at most")
    with ExitStack() as stack:
        stack.enter_context(held(run.path if run else home))
        opened = stack.enter_context(Ledger(ledger, str(run.path if run else home)))
        with contextlib.suppress(KeyboardInterrupt):
            seed = source.run.recipe.seed if source.run else 0
            rows = asyncio.run(_ask_all(models[model], model, words, seed, traces, opened, home, say))
            frame = pl.DataFrame(rows, schema=COLUMNS, orient="row").sort("trace", "behaviour")
            _keep(frame, home / FILE)
            return frame
    raise Interrupted("stopped at once; what was answered is kept")


def models_of(
    source: Source, recipe: Path | None, overrides: Sequence[str], option: str
) -> dict[str, ModelSettings]:
    """The models that can be asked about a source: those of its own recipe, and of another one.

    Raises:
        UserError: there is no recipe, or it cannot be read.
    """
    own = source.run.path / "recipe.toml" if source.run and source.path.is_dir() else None
    if recipe is None and own is None:
        raise UserError(f"{option} names a model of a recipe: give the recipe with --recipe FILE")
    if recipe is None:
        assert own
        return Recipe.load(own, overrides).models
    mine = Recipe.load(own).models if own else {}
    return {**mine, **Recipe.load(recipe, overrides).models}


def drawn(batches: Iterator[pl.DataFrame], sample: int) -> list[Trace]:
    """So many traces, evenly over their categories, by the hashes of their ids; in order of image and id."""
    kept: pl.DataFrame | None = None
    for batch in batches:
        columns = batch.filter(pl.col("words") != "").select("id", "image", "category", "prefix", "words")
        hashed = columns.with_columns(
            pl.Series("draw", [digest("judged", one) for one in columns["id"]], dtype=pl.String)
        )
        together_ = hashed if kept is None else pl.concat([kept, hashed])
        # Never more than `sample` of a category are needed, however many come.
        # (`group_by` puts what it groups by first, and the next batch has its columns in the old order.)
        kept = together_
        if sample:
            kept = together_.sort("draw").group_by("category").head(sample).select(hashed.columns)
    if kept is None:
        return []
    if sample:
        place = pl.int_range(pl.len()).over("category")
        kept = kept.sort("category", "draw").with_columns(place=place).sort("place", "draw").head(sample)
    rows = kept.sort("image", "id").select("id", "image", "category", "prefix", "words").iter_rows()
    return [Trace(*row) for row in rows]


async def _ask_all(
    settings: ModelSettings,
    model: str,
    words: str,
    seed: int,
    traces: list[Trace],
    ledger: Ledger,
    home: Path,
    say: Callable[[str], None],
) -> list[tuple[object, ...]]:
    stop = asyncio.Event()
    rows: list[tuple[object, ...]] = []
    with stopping_at_ctrl_c(stop, None):
        async with Fleet({model: settings}, home / "logs", stop, say=say) as fleet:
            recorded = Recorded(fleet[model], settings, ledger, stop)
            asked = Judge(recorded, f"{settings.model} {settings.version}".strip(), words, seed)
            ways = journey(iter(traces), lambda trace, rank: judged(asked, trace, rank), in_flight=_IN_FLIGHT)
            async with contextlib.aclosing(ways):
                async for made in ways:
                    rows += made
    return rows


async def judged(asked: Judge, trace: Trace, rank: int) -> list[tuple[object, ...]]:
    """Ask about one trace, a call a behaviour; a row each, in the order of `COLUMNS`.

    Raises:
        ModelError: a fatal one; any other leaves the trace uncounted.
    """
    by_phrases = count(trace.passage)

    async def one(behaviour: Behaviour) -> tuple[object, ...]:
        outcome, number, said, key = await _asked(asked, trace, behaviour, rank)
        told = (trace.id, trace.image, trace.category, behaviour, outcome, number)
        return (*told, by_phrases[behaviour], said, asked.name, key)

    return await together([one(behaviour) for behaviour in BEHAVIOURS])


async def _asked(
    asked: Judge, trace: Trace, behaviour: Behaviour, rank: int
) -> tuple[str, int | None, str | None, str | None]:
    words = prompts.fill(
        asked.template,
        behaviour=DEFINITIONS[behaviour],
        before=trace.before or _NOTHING,
        passage=trace.passage,
    )
    request = Request(
        stage=STAGE,
        record=trace.id,
        messages=(Message("user", words),),
        sampling=Sampling.of(SAMPLING),
        seed=seed_of(asked.seed, trace.id, f"{STAGE} {behaviour}"),
        rank=rank,
        affinity=trace.image,
    )
    try:
        reply = await asked.model.ask(request)
    except ModelError as error:
        if error.fatal:
            raise
        return "failed", None, None, None
    choice = reply.choices[0]
    number = parse(choice)
    outcome = "unparsed" if number is None else "counted"
    return outcome, number, choice.text, choice.key or None


def parse(choice: Choice) -> int | None:
    """The count that a reply states; None where it states none, or several that differ: nobody guesses which."""
    counts = {int(found) for found in _COUNT.findall(choice.text)}
    return counts.pop() if len(counts) == 1 else None


def _keep(frame: pl.DataFrame, path: Path) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        frame.write_parquet(part)
        part.replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error
