"""The report's page: figures as tables with bars in them, which a phone, a printer and a screen reader can read."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from typing import Any, NamedTuple

from lpt.analyze.behaviours import BEHAVIOURS, TITLES
from lpt.analyze.intervals import Estimate
from lpt.look.noise import TITLE
from lpt.look.progress import duration
from lpt.look.report_figures import Figures
from lpt.look.safe import safe
from lpt.store.run import Run

_STAGES = {
    "captions": "captions",
    "ask": "ask: questions",
    "think": "think: thoughts",
    "think_harder": "think harder: long thoughts",
    "filter": "filter",
    "sft": "SFT set",
    "preferences": "preference set",
}


class Part(NamedTuple):
    """A section of the page; none, where its body is empty."""

    id: str
    title: str
    body: str


def words(text: object) -> str:
    """Anything, as text of the page and nothing else."""
    return escape(safe(str(text)), quote=True)


def bar(share: float, label: str, style: str = "") -> str:
    """A cell that is a bar, with its value beside it."""
    width = max(0.0, min(1.0, share)) * 100
    drawn = f'<span class="track"><span class="fill {style}" style="width:{width:.2f}%"></span></span>'
    return f'{drawn} <span class="n">{words(label)}</span>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table of cells that are HTML already; the first of each row is its name."""
    top = "".join(f'<th scope="col">{words(name)}</th>' for name in head)
    body = ""
    for row in rows:
        cells = "".join(f"<td>{cell}</td>" for cell in row[1:])
        body += f'<tr><th scope="row">{row[0]}</th>{cells}</tr>'
    told = f"<caption>{words(caption)}</caption>" if caption else ""
    label = words(caption or head[0])
    made = f"<table>{told}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    # A wide table scrolls by itself on a phone, and by the keyboard.
    return f'<div class="wide" tabindex="0" role="group" aria-label="{label}">{made}</div>'


def percent(estimate: Estimate) -> str:
    """A share with its interval."""
    value, low, high = estimate
    if value is None:
        return "none"
    told = f"{100 * value:.1f}%"
    return told if low is None or high is None else f"{told} ({100 * low:.1f} to {100 * high:.1f})"


def head(run: Run, figures: Figures) -> Part:
    """What the run is, in some lines."""
    recipe = run.recipe
    models = ", ".join(f"{name}: {model.model}" for name, model in recipe.models.items())
    made = {count.stage: count for count in figures.funnel}
    cards = [
        (f"{made[stage].kept:,}", f"{title}")
        for stage, title in (
            ("captions", "captions"),
            ("ask", "questions"),
            ("think", "thoughts"),
            ("think_harder", "long thoughts"),
            ("sft", "SFT examples"),
            ("preferences", "preference pairs"),
        )
        if stage in made
    ]
    body = (
        '<dl class="cards">'
        + "".join(f"<div><dd>{words(number)}</dd><dt>{words(name)}</dt></div>" for number, name in cards)
        + "</dl>"
    )
    told = words(models or "No models: an imported run")
    body += f"<p>Captions: {words(recipe.captions.source)}. {told}. Seed {recipe.seed}.</p>"
    if run.outdated():
        body += '<p class="warn">The sets are of earlier tables: <code>lpt compose</code> makes them anew.</p>'
    if figures.noise:
        body += table(
            ["after", "records", "wrong label"],
            [
                [
                    words(row.after),
                    f"{row.records:,}",
                    bar(
                        row.wrong / max(row.records, 1),
                        f"{row.wrong:,} ({row.wrong / max(row.records, 1):.1%})",
                        "bad",
                    ),
                ]
                for row in figures.noise
            ],
            TITLE,
        )
    if figures.reviews:
        body += (
            "<p>People said: "
            + ", ".join(f"{number:,} {words(what)}" for what, number in figures.reviews.items())
            + ".</p>"
        )
    return Part("run", "The run", body)


def funnel(figures: Figures) -> Part:
    """From captions to kept examples, every drop by its reason."""
    most = max((count.made for count in figures.funnel), default=1) or 1
    rows = []
    for count in figures.funnel:
        dropped = sum(count.dropped.values())
        kept_as = " ".join(
            f'<span class="tag good">{words(name)} {number:,}</span>' for name, number in count.categories.items()
        )
        why = " ".join(
            f'<span class="tag left">{words(reason)} {number:,}</span>' for reason, number in count.dropped.items()
        )
        rows.append(
            [
                words(_STAGES[count.stage]),
                f"{count.made:,}",
                bar(count.kept / most, f"{count.kept:,}"),
                f"{dropped:,}",
                f'<span class="tags">{kept_as} {why}</span>',
            ]
        )
    body = table(
        ["stage", "made", "kept", "dropped", "kept as, dropped for"], rows, "At each stage made = kept + dropped"
    )
    return Part("funnel", "From captions to kept examples", body if rows else "")


def accuracy(figures: Figures) -> Part:
    """By type of question, before and after thinking harder."""
    rows = [
        [
            words(row.kind),
            f"{row.thoughts:,}",
            words(percent(row.all)),
            bar(row.before.value or 0, percent(row.before)),
            bar(row.after.value or 0, percent(row.after), "good"),
            f"{row.long:,}",
        ]
        for row in figures.accuracy
    ]
    note = (
        "<p>“Before” and “after” are about the same continuations: how often the thought that was continued named "
        "the marked option, and how often the continuation did. A run that draws until quotas are full continues "
        "wrong thoughts more often than they come, so “before” is not the student's accuracy: that is “all "
        "thoughts”. "
        "Intervals: 95 %, by image.</p>"
    )
    made = table(
        ["type", "thoughts", "all thoughts", "before", "after", "continuations"],
        rows,
        "Accuracy by type of question",
    )
    return Part("accuracy", "Accuracy, before and after thinking harder", made + note if rows else "")


def flips(figures: Figures) -> Part:
    """What each cue turns."""
    rows = [
        [
            words(row.cue),
            f"{row.wrong:,}",
            bar(row.mended.value or 0, percent(row.mended), "good"),
            f"{row.right:,}",
            bar(row.spoilt.value or 0, percent(row.spoilt), "bad"),
        ]
        for row in figures.flips
    ]
    body = table(
        ["cue", "of wrong thoughts", "X→O", "of right thoughts", "O→X"],
        rows,
        "Share of continuations that turn the verdict, by cue",
    )
    return Part("flips", "Flips by cue", body if rows else "")


def lengths(figures: Figures) -> Part:
    """Words, by category."""
    most = max((row.high for row in figures.lengths), default=1) or 1
    rows = [
        [
            words(row.category),
            f"{row.rows:,}",
            bar(row.middle / most, f"{row.middle:.0f}"),
            f"{row.low:.0f} to {row.high:.0f}",
            f"{row.most:.0f}",
        ]
        for row in figures.lengths
    ]
    body = table(
        ["category", "records", "median words", "quartiles", "longest"],
        rows,
        "Words of simple thoughts, and of what thinking harder added",
    )
    return Part("lengths", "Lengths", body if rows else "")


def behaviours(figures: Figures) -> Part:
    """How often a trace shows each behaviour."""
    most = max((value for row in figures.behaviours.values() for value in row.values()), default=1) or 1
    rows = [
        [words(category), *(bar(row[name] / most, f"{row[name]:.2f}") for name in BEHAVIOURS)]
        for category, row in figures.behaviours.items()
    ]
    looked, of = figures.behaviours_of
    sampled = (
        f" Counted in {looked:,} of {of:,} long thoughts, drawn by their ids."
        if looked < of
        else f" Counted in all {of:,}."
    )
    note = f"<p>Mean number a trace, by phrases: a hint, not a judgement.{sampled}</p>"
    made = table(
        ["category", *(TITLES[name] for name in BEHAVIOURS)], rows, "Behaviours in what thinking harder added"
    )
    return Part("behaviours", "Behaviours", made + note if rows else "")


def checks(figures: Figures) -> Part:
    """Leaks and casing: what was taken away, and what is left in what is learnt."""
    rows = []
    for name, number in figures.dropped.items():
        left, of = figures.checks.get(name, (0, 0))
        rows.append([words(name), f"{number:,}", f"{left:,} of {of:,}" if of else "not looked at"])
    body = table(
        ["check", "taken away by the filter", "still found in what is learnt"],
        rows,
        "Leaks, casing, markup, language",
    )
    return Part("checks", "Leak and casing checks", body if figures.checks or any(figures.dropped.values()) else "")


def balance(figures: Figures) -> Part:
    """What the sets are made of."""
    parts = []
    for title, counts in figures.balance.items():
        total = sum(counts.values()) or 1
        rows = [
            [words(name), bar(number / total, f"{number:,} ({number / total:.0%})")]
            for name, number in counts.items()
        ]
        caption = {"pairs": "Preference pairs by category", "sets": "SFT sets"}.get(
            title, f"The long set by {title}"
        )
        parts.append(table([title, "examples"], rows, caption))
    return Part("balance", "Balance of the sets", f'<div class="grid">{"".join(parts)}</div>' if parts else "")


def costs(figures: Figures) -> Part:
    """Tokens, money and time, by stage and for a kept example."""
    rows = [
        [
            words(row["stage"]),
            words(row["model"]),
            *(f"{row[name]:,}" for name in ("calls", "prompt_tokens", "cached_tokens", "completion_tokens")),
            f"{row['money']:,.4f}",
            words(duration(row["seconds"])),
        ]
        for row in figures.costs
    ]
    if not rows:
        return Part("costs", "", "")
    kept = max(figures.kept, 1)

    def total(name: str) -> Any:
        return sum(row[name] for row in figures.costs)

    rows.append(
        [
            "all",
            "",
            *(f"{total(name):,}" for name in ("calls", "prompt_tokens", "cached_tokens", "completion_tokens")),
            f"{total('money'):,.4f}",
            words(duration(total("seconds"))),
        ]
    )
    rows.append(
        [
            f"for each of {figures.kept:,} kept",
            "",
            *(
                f"{total(name) / kept:,.1f}"
                for name in ("calls", "prompt_tokens", "cached_tokens", "completion_tokens")
            ),
            f"{total('money') / kept:,.6f}",
            words(f"{total('seconds') / kept:.2f} s"),
        ]
    )
    note = (
        "<p>Of the calls whose replies these tables hold. Kept: examples of the long set and pairs. Money at the "
        "recipe's prices. Time is summed over calls, which overlap.</p>"
    )
    heads = ["stage", "model", "calls", "tokens in", "of them cached", "tokens out", "money", "time in calls"]
    return Part("costs", "Tokens, money and time", table(heads, rows, "What the run took") + note)


def page(name: str, parts: Sequence[Part]) -> str:
    """The whole page."""
    style = resources.files("lpt.look").joinpath("report.css").read_text(encoding="utf-8")
    links = "".join(f'<a href="#{part.id}">{words(part.title)}</a>' for part in parts)
    body = "".join(f'<section id="{part.id}"><h2>{words(part.title)}</h2>{part.body}</section>\n' for part in parts)
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{words(name)}: report</title><style>{style}</style></head>\n"
        f'<body><header><h1>{words(name)}</h1><nav aria-label="Sections">{links}</nav></header>\n'
        f"<main>\n{body}</main></body></html>\n"
    )
