"""What each row of the miniature's table is for, and the table as Markdown and as a picture. No torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lpt.analyze.charts import Bar, bars
from lpt.analyze.intervals import Estimate
from lpt.errors import UserError
from lpt.evaluate.stats import Interval
from lpt.exports.rows import put
from lpt.miniature.results import BASE, SHOWN, Gap, Line

ROWS: Final = {
    "base": "the student",
    "blank": "the student, shown gray pictures",
    "cot": "the student, asked to think in words that it was not taught",
    "simple": "SFT on its own right simple thoughts",
    "direct": "SFT on the true answers, without a thought",
    "captions": "SFT on the same boards' captions",
    "sft": "SFT on long thoughts",
    "dpo": "SFT, then DPO",
    "scratch": "SFT on long thoughts that go on from nothing, not from the student's own",
    "simple-examples": "*simple*, as many examples as in *sft* (elsewhere: as many tokens)",
    "captions-examples": "*captions*, as many examples",
    "simple-2400": "*simple* of 2,400 boards, in place of 400",
    "captions-2400": "*captions* of 2,400 boards",
    "boards-150": "*sft* of 150 boards",
    "boards-2400": "*sft* of 2,400 boards",
    "sft-again": "*sft* once more, in another order: what two trainings differ by",
    "sft-longer": "*sft* on three times as many tokens",
    "fewer-options": "*sft*, questions are shown with two, three or four options (`think.fewest_options`)",
    "cue-none": "*sft*, thoughts go on without a cue",
    "cue-wait": '*sft*, "Wait," is the only cue',
    "cue-hmm": '*sft*, "Hmm," is the only cue',
    "cue-alternatively": '*sft*, "Alternatively," is the only cue',
    "lenient": "*sft*, nothing filtered but what was cut off",
    "strict": "*sft*, near duplicates filtered, too (a similarity of .95)",
    "prefix-loss": "*sft*, with loss on the wrong first thought, as where a mask is lost",
    "dpo-longer": "*dpo* on three times as many tokens",
    "dpo-without-mended": "*dpo* without the preference pairs whose chosen side is X→O",
    "dpo-compact": "*dpo* with preference pairs that prefer the shorter of two right texts",
}
"""What each row of `scripts/miniature.sh` is, in the table's order; unknown ones follow by name."""
_CONTROLS: Final = {
    "sft": ("simple", "scratch"),
    "dpo": ("sft",),
    "scratch": ("simple",),
    "simple-2400": ("boards-2400",),
    "captions-2400": ("boards-2400",),
    **dict.fromkeys(("base", "blank", "cot", "simple", "direct", "captions"), ()),
}
_MARKS: Final = ("<!-- table: lpt miniature table -->", "<!-- end of table -->")


def against(row: str) -> tuple[str, ...]:
    """What a row is held against beside `base`: its control; of a changed SFT or DPO, the one unchanged."""
    return _CONTROLS.get(row, ("dpo",) if row.startswith("dpo-") else ("sft",))


def markdown(lines: Sequence[Line]) -> str:
    """What each row is, its shares, and its differences: three tables."""
    ordered = _ordered(lines)
    head = ("row", "kinds", "each seed", *SHOWN, "first thought", "X→O", "O→X", "tokens")
    out = ["| row | what it is |", "|---|---|"]
    out += [f"| {line.row} | {ROWS.get(line.row, '')} |" for line in ordered]
    out += ["", f"| {' | '.join(head)} |", f"|{'|'.join(['---'] + ['--:'] * (len(head) - 1))}|"]
    for line in ordered:
        cells = [
            line.row,
            _percent(line.shares["kinds"]),
            " ".join(map(_percent, line.each)),
            *(_percent(line.shares[kind]) for kind in SHOWN),
            *map(_percent, (line.first, line.mended, line.spoilt)),
            f"{line.tokens:.0f}",
        ]
        out.append(f"| {' | '.join(cells)} |")
    out += ["", "| row | held against | difference in kinds | over questions | over trainings |"]
    out += ["|---|---|--:|--:|--:|"]
    for line in ordered:
        for other, gap in line.differences.items():
            value = f"{100 * gap.questions.value:+.1f}"
            out.append(
                f"| {line.row} | {other} | {value} | {_between(gap.questions)} | {_between(gap.trainings)} |"
            )
    return "\n".join(out)


def write(lines: Sequence[Line], path: Path) -> None:
    """Put the table into a Markdown file, between its marks.

    Raises:
        UserError: the file has no such marks.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    before, first, rest = text.partition(_MARKS[0])
    _, last, after = rest.partition(_MARKS[1])
    if not first or not last:
        raise UserError(f"{path} has no place for the table: put {_MARKS[0]} and {_MARKS[1]} into it")
    put(path, f"{before}{first}\n{markdown(lines)}\n{last}{after}".encode())


def drawn(lines: Sequence[Line]) -> str:
    """The differences from the base as bars (SVG), with their intervals over trainings, or else over questions."""
    return bars(
        "Better than the student by: mean of the four kinds",
        [_bar(line.row, line.differences[BASE]) for line in _ordered(lines) if BASE in line.differences],
        percent=True,
    )


def _bar(row: str, gap: Gap) -> Bar:
    known = gap.trainings.low is not None
    shown = gap.trainings if known else gap.questions
    series = "3 seeds, interval over trainings" if known else "1 or 2 seeds, interval over questions"
    return Bar(row, series, Estimate(shown.value, shown.low, shown.high))


def _ordered(lines: Sequence[Line]) -> list[Line]:
    names = list(ROWS)
    return sorted(lines, key=lambda line: (names.index(line.row) if line.row in names else len(names), line.row))


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _between(gap: Interval) -> str:
    if gap.low is None or gap.high is None:
        return ""
    return f"{100 * gap.low:+.1f} to {100 * gap.high:+.1f}"
