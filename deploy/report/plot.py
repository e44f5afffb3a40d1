"""Draws points joined by a line, as SVG in the colors of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH, HEIGHT = 360, 260
# Left, top, right, bottom: room for the numbers and names of the axes.
MARGINS = (44, 10, 12, 40)


@dataclass(frozen=True)
class Point:
    """A point; `name` is shown when the pointer rests on it, `marked` draws it larger."""

    x: float
    y: float
    name: str
    marked: bool = False


def line_plot(points: Sequence[Point], x_axis: str, y_axis: str) -> Markup:
    """Draws the points in their order, joined; at least one. It is as wide as a telephone, and shrinks with it."""
    from markupsafe import Markup  # not where a table is only read

    left, top, right, bottom = MARGINS
    x_ticks, y_ticks = (_ticks([getattr(p, axis) for p in points]) for axis in ("x", "y"))

    def place(value: float, ticks: Sequence[float], start: float, end: float) -> float:
        return start + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (end - start)

    def across(value: float) -> float:
        return place(value, x_ticks, left, WIDTH - right)

    def down(value: float) -> float:
        return place(value, y_ticks, HEIGHT - bottom, top)

    base, end = HEIGHT - bottom, WIDTH - right
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{y_axis} / {x_axis}")}">'
    ]
    for y in y_ticks:
        parts.append(f'<path class="grid" d="M{left} {down(y):.1f}H{end}"/>')
        parts.append(f'<text x="{left - 5}" y="{down(y) + 4:.1f}" text-anchor="end">{y:g}</text>')
    for x in x_ticks:
        parts.append(f'<path class="grid" d="M{across(x):.1f} {top}V{base}"/>')
        parts.append(f'<text x="{across(x):.1f}" y="{base + 14}" text-anchor="middle">{x:g}</text>')
    joined = " ".join(f"{across(p.x):.1f},{down(p.y):.1f}" for p in points)
    parts.append(f'<polyline class="line" points="{joined}"/>')
    for p in points:
        kind, radius = ("dot marked", 6) if p.marked else ("dot", 3.5)
        title = f"<title>{escape(p.name)}: {p.x:.4g}, {p.y:.4g}</title>"
        parts.append(
            f'<circle class="{kind}" cx="{across(p.x):.1f}" cy="{down(p.y):.1f}" r="{radius}">{title}</circle>'
        )
    parts.append(f'<text x="{(left + end) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_axis)}</text>')
    turned = f'transform="translate(11 {(top + base) / 2}) rotate(-90)"'
    parts.append(f'<text {turned} text-anchor="middle">{escape(y_axis)}</text></svg>')
    return Markup("\n".join(parts))


def _ticks(values: Sequence[float]) -> list[float]:
    """Returns about five round numbers, from at most the smallest value to at least the largest."""
    low, high = min(values), max(values)
    rough = (high - low or abs(high) or 1.0) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [round(step * i, 12) for i in range(first, last + 1)]
