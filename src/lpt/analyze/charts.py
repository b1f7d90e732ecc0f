"""Bars and curves as SVG: self-contained, light or dark as the reader's screen is. All words are escaped.

A picture shows what a table says, never more: each mark carries its value as a tooltip, and its interval as a line.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

import msgspec

from lpt.analyze.intervals import Estimate

_WIDTH: Final = 720
_LEFT: Final = 210
_LETTER: Final = 7.2
"""A letter's width, on average."""
_RIGHT: Final = 60
_ROW: Final = 20
_ROUND: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
_HUES: Final = ("c0", "c1", "c2", "c3", "c4")


class Bar(msgspec.Struct, frozen=True):
    """One bar: what it stands for, in which series, and its estimate."""

    name: str
    series: str
    estimate: Estimate


class Point(msgspec.Struct, frozen=True):
    """One point of a curve."""

    x: float
    estimate: Estimate
    label: str = ""


def bars(title: str, rows: Sequence[Bar], *, percent: bool = False) -> str:
    """Horizontal bars, grouped by name in their order, a colour a series."""
    names = list(dict.fromkeys(row.name for row in rows))
    series = list(dict.fromkeys(row.series for row in rows))
    ends = [end for row in rows for end in row.estimate if end is not None]
    low, high = min([0.0, *ends]), max([0.0, *ends]) or 1.0
    indent = min(max(_LEFT, 20 + _LETTER * max(map(len, names), default=0)), _WIDTH / 2)
    scale = _Scale(low, high, indent, _WIDTH - _RIGHT)
    body, top = _legend(series)
    y: float = top
    for name in names:
        mine = [row for row in rows if row.name == name]
        body.append(_text(indent - 10, y + _ROW * len(mine) / 2 + 4, name, "end", int(indent / _LETTER)))
        for row in mine:
            value, least, most = row.estimate
            hue = _HUES[series.index(row.series) % len(_HUES)]
            if value is None:
                body.append(_text(scale(0) + 6, y + 14, "none", "start dim"))
            else:
                left, right = sorted((scale(0), scale(value)))
                told = f"{row.series}, {name}: {_said(value, percent)}"
                if least is not None and most is not None:
                    told += f" ({_said(least, percent)} to {_said(most, percent)})"
                body.append(
                    f'<rect x="{left:.1f}" y="{y + 3}" width="{max(right - left, 0.5):.1f}" height="{_ROW - 6}"'
                    f' class="{hue}"><title>{escape(_printable(told))}</title></rect>'
                )
                if least is not None and most is not None:
                    body.append(_line(scale(least), y + 10, scale(most), y + 10, "whisker"))
            y += _ROW
        y += 8
    grid = [_line(scale(0), top, scale(0), y, "axis")]
    for tick in scale.ticks():
        grid += [
            _line(scale(tick), top, scale(tick), y, "grid"),
            _text(scale(tick), y + 16, _said(tick, percent), "mid"),
        ]
    return _page(title, y + 30, [*grid, *body])


def curve(
    title: str, lines: Mapping[str, Sequence[Point]], *, x: str, percent: bool = True, log: bool = False
) -> str:
    """Curves with whiskers over a number, a colour each."""
    points = [point for line in lines.values() for point in line if point.estimate.value is not None]
    ends = [end for point in points for end in point.estimate if end is not None]
    places = [_at(point.x, log) for point in points]
    body, top = _legend(list(lines))
    bottom = top + 240
    up = _Scale(min([0.0, *ends]), max(ends, default=1.0) or 1.0, bottom, top + 10)
    along = _Scale(min(places, default=0), max(places, default=1), 70, _WIDTH - 40)
    for tick in up.ticks():
        body += [
            _line(70, up(tick), _WIDTH - 40, up(tick), "grid"),
            _text(62, up(tick) + 4, _said(tick, percent), "end"),
        ]
    for tick in (
        [math.log10(one) for one in _ROUND if min(places) <= math.log10(one) <= max(places)]
        if (log and places)
        else along.ticks()
    ):
        body.append(_text(along(tick), bottom + 20, f"{10**tick:,.0f}" if log else f"{tick:,g}", "mid"))
    body.append(_text(_WIDTH / 2, bottom + 42, x, "mid dim", 80))
    for number, (name, line) in enumerate(lines.items()):
        hue = _HUES[number % len(_HUES)]
        there = [(along(_at(p.x, log)), up(p.estimate.value), p) for p in line if p.estimate.value is not None]
        if len(there) > 1:
            path = " ".join(f"{px:.1f},{py:.1f}" for px, py, _ in there)
            body.append(f'<polyline points="{path}" class="line {hue}"/>')
        for px, py, point in there:
            if point.estimate.low is not None and point.estimate.high is not None:
                body.append(_line(px, up(point.estimate.low), px, up(point.estimate.high), "whisker"))
            told = _printable(
                f"{name}: {point.label or f'{point.x:g}'}, {_said(point.estimate.value or 0.0, percent)}"
            )
            body.append(
                f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4" class="{hue}"><title>{escape(told)}</title></circle>'
            )
    return _page(title, bottom + 56, body)


class _Scale:
    """Values to places."""

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        self._low, self._high = low, high if high > low else low + 1
        self._first, self._last = first, last

    def __call__(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return self._first + share * (self._last - self._first)

    def ticks(self) -> list[float]:
        """Some five round numbers."""
        rough = (self._high - self._low) / 5
        power = 10 ** math.floor(math.log10(rough))
        step = power * next(m for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
        first = math.ceil(self._low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self._high / step + 1e-9) + 1)]


def _at(x: float, log: bool) -> float:
    return math.log10(max(x, 1e-9)) if log else x


def _said(value: float, percent: bool) -> str:
    return f"{100 * value:.3g}%" if percent else f"{value:.3g}"


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def _text(x: float, y: float, words: str, style: str, most: int = 30) -> str:
    short = words if len(words) <= most else words[: most - 1] + "…"
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{escape(_printable(short))}</text>'


def _printable(words: str) -> str:
    return "".join(c if c.isprintable() else "·" for c in words)


def _legend(series: Sequence[str]) -> tuple[list[str], int]:
    """The series by their colours, and how far down that reaches."""
    if len(series) < 2:
        return [], 48
    out = []
    x, y = 20.0, 40
    for number, name in enumerate(series):
        width = 34 + _LETTER * min(len(name), 40)
        if x > 20 and x + width > _WIDTH:
            x, y = 20.0, y + 18
        out.append(f'<rect x="{x:.0f}" y="{y}" width="12" height="12" class="{_HUES[number % len(_HUES)]}"/>')
        out.append(_text(x + 17, y + 11, name, "start", 40))
        x += width
    return out, y + 26


def _page(title: str, height: float, body: Sequence[str]) -> str:
    title = _printable(title)
    return _SVG.format(width=_WIDTH, height=int(height), title=escape(title, quote=True), body="\n".join(body))


STYLE: Final = """svg { --ink: #1f2328; --dim: #59636e; --paper: #ffffff; --edge: #d1d9e0 }
svg { --c0: #0969da; --c1: #bc4c00; --c2: #1a7f37; --c3: #8250df; --c4: #9a6700 }
@media (prefers-color-scheme: dark) {
svg { --ink: #f0f6fc; --dim: #9198a1; --paper: #0d1117; --edge: #3d444d }
svg { --c0: #4493f8; --c1: #f0883e; --c2: #3fb950; --c3: #ab7df8; --c4: #d29922 }
}
text { font: 13px Helvetica, Arial, "DejaVu Sans", sans-serif; fill: var(--ink) }
.title { font-size: 15px; font-weight: bold }
.end { text-anchor: end }
.mid { text-anchor: middle; font-size: 11px; fill: var(--dim) }
.dim { fill: var(--dim); font-size: 12px }
.grid { stroke: var(--edge); stroke-width: 1 }
.axis { stroke: var(--dim); stroke-width: 1.5 }
.whisker { stroke: var(--ink); stroke-width: 1.5; opacity: 0.7 }
.c0 { fill: var(--c0) } .c1 { fill: var(--c1) } .c2 { fill: var(--c2) } .c3 { fill: var(--c3) }
.c4 { fill: var(--c4) }
.line { fill: none; stroke-width: 2 }
.line.c0 { stroke: var(--c0) } .line.c1 { stroke: var(--c1) } .line.c2 { stroke: var(--c2) }
.line.c3 { stroke: var(--c3) } .line.c4 { stroke: var(--c4) }"""

_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
    'role="img" aria-label="{title}">\n<style>\n'
    + STYLE.replace("{", "{{").replace("}", "}}")
    + '\n</style>\n<rect x="0.5" y="0.5" width="{width}" height="{height}" rx="8" style="fill: var(--paper)"/>\n'
    '<text x="20" y="26" class="title">{title}</text>\n{body}\n</svg>\n'
)
