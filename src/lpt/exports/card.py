"""The dataset card: what is in an exported folder, where it comes from, and how it was made.

It says nothing that depends on when, where or by whom it was written: no date, no path, no server, no key.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec
import polars as pl

from lpt.errors import RecipeError
from lpt.exports.base import SPLITS, beside
from lpt.recipe import Recipe
from lpt.records import CHECKS, digest
from lpt.settings_verify import CheckSettings
from lpt.store.run import Run
from lpt.synthesis import prompts

_LICENCE = re.compile(r"[a-z][a-z0-9.+-]{1,40}")
_ABSOLUTE = re.compile(r'"(?:/|[A-Za-z]:\\\\)(?:[^"\\]|\\.)*"')
_CHECKS_HOME = "lpt.curate.prompts"
_SYSTEMS = 12
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


class Counted(Protocol):
    """What is known of a stage; see `lpt.curate.funnel`."""

    @property
    def stage(self) -> str:
        """Its name."""

    @property
    def made(self) -> int:
        """What came into it."""

    @property
    def kept(self) -> int:
        """What stayed."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """What did not, by reason."""


def card(
    run: Run,
    sets: Mapping[tuple[str, str], int],
    remarks: Sequence[str],
    *,
    licence: str = "",
    stages: Sequence[Counted] = (),
) -> str:
    """The card's text.

    Args:
        run: the run that the sets are of.
        sets: rows by configuration and split.
        remarks: what a reader should know beside the counts.
        licence: the licence of the sources.
        stages: the funnel.
    """
    licence = " ".join(licence.split())
    return "\n".join(
        [
            *_header(sets, licence),
            beside(
                "hf_README.md",
                LICENCE=_plain(licence) if licence else "**not stated**: ask whoever made this before you use it",
                SOURCES="\n".join(_sources(run)),
                SETS="\n".join(_sets(sets)),
                FIGURES="\n".join(_figures(run)),
                REMARKS="".join(f"\n- {_plain(remark)}" for remark in remarks),
                FUNNEL="\n".join(_funnel(stages)),
                PROMPTS="\n".join([*_prompt_files(run), *_systems(run)]),
                RECIPE=_fenced(_public(run.recipe)),
            ),
        ]
    )


def _header(sets: Mapping[tuple[str, str], int], licence: str) -> Iterator[str]:
    yield "---"
    if _LICENCE.fullmatch(licence):
        yield f"license: {licence}"
    elif licence:
        yield "license: other"
        yield f"license_name: {msgspec.json.encode(licence).decode()}"
    else:
        yield "license: unknown"
    yield "task_categories:"
    yield "- image-text-to-text"
    yield "tags:"
    yield "- visual-reasoning"
    yield "- chain-of-thought"
    yield "- synthetic"
    rows = sum(sets.values())
    yield "size_categories:"
    yield f"- {next((size for limit, size in _SIZES if rows < limit), '1M<n<10M')}"
    if sets:
        yield "configs:"
    for number, name in enumerate(_configurations(sets)):
        yield f"- config_name: {name}"
        if number == 0:
            yield "  default: true"
        yield "  data_files:"
        for split in SPLITS:
            if (name, split) in sets:
                yield f"  - split: {split}"
                yield f"    path: {name}/{split}-*.parquet"
    yield "---"
    yield ""


def _configurations(sets: Mapping[tuple[str, str], int]) -> list[str]:
    usual = ["sft_long", "sft_simple", "sft_direct", "preferences"]
    names = {name for name, _ in sets}
    return [*(name for name in usual if name in names), *sorted(names.difference(usual))]


def _sources(run: Run) -> Iterator[str]:
    images = run.table("captions").group_by("source").agg(pl.col("image").n_unique()).sort("source").collect()
    for source, number in images.iter_rows():
        yield f"- {_plain(source)}: {number:,} captioned images"
    questions = run.recipe.questions
    if questions:
        yield f"- questions of their own, from a source of the kind {_plain(questions.source)}"


def _sets(sets: Mapping[tuple[str, str], int]) -> Iterator[str]:
    yield "| configuration | train | validation |"
    yield "|---|---:|---:|"
    for name in _configurations(sets):
        yield f"| `{name}` | {sets.get((name, 'train'), 0):,} | {sets.get((name, 'validation'), 0):,} |"


def _figures(run: Run) -> Iterator[str]:
    yield "| set | category | rows | images | words learnt, on average |"
    yield "|---|---|---:|---:|---:|"
    pairs = run.table("preferences").with_columns(pl.lit("preferences").alias("set"))
    for table, text in ((run.table("sft"), "target"), (pairs, "chosen")):
        counted = (
            table.group_by("set", "category")
            .agg(
                pl.len().alias("rows"),
                pl.col("image").n_unique().alias("images"),
                pl.col(text).str.count_matches(r"\S+").cast(pl.Int64).sum().alias("words"),
            )
            .sort("set", "category")
            .collect()
        )
        for name, category, rows, images, words in counted.iter_rows():
            yield f"| {_plain(name)} | {_plain(category)} | {rows:,} | {images:,} | {words / rows:.0f} |"


def _funnel(stages: Sequence[Counted]) -> Iterator[str]:
    if not stages:
        yield "Not counted for this card: `lpt status` shows it."
        return
    yield "| stage | made | kept | dropped |"
    yield "|---|---:|---:|---|"
    for stage in stages:
        dropped = ", ".join(f"{number:,} {_plain(reason)}" for reason, number in stage.dropped.items())
        yield f"| {stage.stage} | {stage.made:,} | {stage.kept:,} | {dropped} |"


def _prompt_files(run: Run) -> Iterator[str]:
    """The fingerprint of each prompt that the stages use, and the checks whose judgements the run holds."""
    recipe = run.recipe
    yield "| prompt | fingerprint | |"
    yield "|---|---|---|"
    used: list[tuple[str, str | None]] = []
    judged = set(run.table("judgements").select("check").unique().collect()["check"])
    if recipe.questions:
        used += [("options", recipe.questions.prompt)]
    elif recipe.ask:
        used += [("ask", recipe.ask.prompt), ("reparse", None)]
    used += [("think", recipe.think.prompt)] if recipe.think else []
    used += [("think_harder", recipe.think_harder.prompt)] if recipe.think_harder else []
    for check in CHECKS:
        settings: CheckSettings | None = getattr(recipe.verify, check)
        if settings and check in judged:
            used += [(f"verify.{check}", settings.prompt)]
    for name, path in used:
        home = _CHECKS_HOME if name.startswith("verify.") else prompts.__name__
        try:
            fingerprint = f"`{digest('prompt', prompts.load(name, path, home=home))}`"
        except RecipeError:
            fingerprint = "the file is not there any more"
        yield f"| {name} | {fingerprint} | {'a file of its own' if path else 'as it comes with lpt'} |"


def _systems(run: Run) -> Iterator[str]:
    """The system messages that stand in rows, by fingerprint."""
    both = pl.concat([run.table(name).select("system") for name in ("sft", "preferences")])
    counted = both.group_by("system").len().sort(["len", "system"], descending=[True, False]).collect()
    for system, rows in counted.head(_SYSTEMS).iter_rows():
        what = f"{rows:,} rows" if system else f"{rows:,} rows without one"
        yield f"| system message | `{digest('prompt', system.strip())}` | {what} |"
    if counted.height > _SYSTEMS:
        yield f"| | | and {counted.height - _SYSTEMS:,} further system messages |"


def _public(recipe: Recipe) -> str:
    """The recipe without what belongs to whoever ran it: servers, commands, headers, keys, folders."""
    replace = msgspec.structs.replace
    models = {
        name: replace(model, url=None, launch=None, key_env=None, headers={}, extra={}, template=None)
        for name, model in recipe.models.items()
    }
    text = replace(recipe, models=models, ledger=None).toml()
    return _ABSOLUTE.sub(lambda match: '"…/' + re.split(r"[/\\]", match.group()[1:-1])[-1] + '"', text)


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}toml\n{text.rstrip()}\n{fence}"


def _plain(text: str) -> str:
    """Text that stands in a table's cell as it is."""
    spaced = " ".join(text.split())
    return re.sub(r"[\\`*_|\[\]]", r"\\\g<0>", spaced.replace("&", "&amp;").replace("<", "&lt;"))
