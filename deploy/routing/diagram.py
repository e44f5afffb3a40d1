"""Draws a route as a diagram: the grid of scales x layers, as in figure 4 of arXiv 2003.10401.

Layers run from left to right, scales (1/4 to 1/32) from top to bottom. A path's line is as wide as its
gate; closed ones are faint. Nodes that compute are filled, nodes that pass their input on are rings, and
nodes that nothing but zeros reaches are dots.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from adroit.models.routing.route import Route
from adroit.models.routing.space import INIT, SCALES, Node, Path, RoutingSpace

if TYPE_CHECKING:
    from PIL.Image import Image

STEP, ROW, LEFT, TOP, RADIUS = 44.0, 48.0, 64.0, 34.0, 7.0
WIDEST, FAINT = 7.0, 0.8
COLOR, GRAY = "#3b6fd4", "#98a2b3"
# PNGs are painted so many times larger and averaged: Pillow's lines have steps.
SMOOTHING = 3
Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A line; width in pixels, opacity 0 to 1. `title` is shown when the pointer rests on it."""

    start: Point
    end: Point
    width: float
    color: str
    opacity: float
    title: str


@dataclass(frozen=True)
class Disc:
    """A disc; radius in pixels. A `fill` of 0 draws the ring only, 1 fills it."""

    center: Point
    radius: float
    fill: float
    color: str
    title: str


@dataclass(frozen=True)
class Text:
    """A text; `at` is the left end of its baseline."""

    at: Point
    text: str


@dataclass(frozen=True)
class Diagram:
    """Shapes in the order in which they are drawn; sizes in pixels."""

    width: float
    height: float
    title: str
    shapes: Sequence[Line | Disc | Text]

    def svg(self, inline: bool = False) -> str:
        """Returns an SVG file, on white; or, inline, a transparent element of HTML, texts in the color of the page."""
        size = f'width="{self.width:g}" height="{self.height:g}" viewBox="0 0 {self.width:g} {self.height:g}"'
        # A narrow page may shrink it by so much; then it scrolls.
        narrowest = f'style="min-width: {self.width * 0.4:.0f}px"'
        space = narrowest if inline else 'xmlns="http://www.w3.org/2000/svg"'
        head = f'<svg {space} {size} role="img" font-family="sans-serif" font-size="12">'
        ground = [] if inline else ['<rect width="100%" height="100%" fill="white"/>']
        body = [_svg_shape(shape) for shape in self.shapes]
        return "\n".join([head, f"<title>{escape(self.title)}</title>", *ground, *body, "</svg>"]) + "\n"

    def png(self, scale: int = 2) -> bytes:
        """Returns a PNG file, on white, with `scale` pixels for each pixel of the SVG."""
        from PIL import Image as Pillow

        fine = scale * SMOOTHING
        image = Pillow.new("RGB", (round(self.width * fine), round(self.height * fine)), "white")
        _paint(image, self.shapes, fine)
        size = (round(self.width * scale), round(self.height * scale))
        buffer = io.BytesIO()
        image.resize(size, Pillow.Resampling.BOX).save(buffer, "PNG", optimize=True)
        return buffer.getvalue()


def route_diagram(title: str, route: Route, gates: Sequence[float] | None = None) -> Diagram:
    """Draws one route.

    Args:
        gates: [paths], 0 to 1; the lines' widths. 1 where the route is open if None.
    """
    space = route.space
    values = gates if gates is not None else [float(is_open) for is_open in route.open]
    weights = {path: float(value) for path, value in zip(space.paths, values, strict=True)}

    fed = _fed(route)

    def disc(node: Node) -> tuple[float, float, str]:
        state = "open" if route.is_open(node) else "passes its input on" if node in fed else "nothing arrives"
        return (RADIUS if route.is_open(node) or node in fed else 2.0, float(route.is_open(node)), state)

    def passes(path: Path) -> bool:
        return path.kind == "keep" and path.node in fed and not route.is_open(path.node)

    return _grid_diagram(title, space, weights, disc, "gate", passes)


def _fed(route: Route) -> set[Node]:
    """Returns the nodes that more than zeros reach."""
    fed: set[Node] = {INIT}
    for node in route.space.nodes:
        arriving = [path for path in route.space.arriving(node) if route.carries(path)]
        if any(route.is_open(path.node) or path.node in fed for path in arriving):
            fed.add(node)
    return fed


def usage_diagram(title: str, space: RoutingSpace, path_open: Sequence[float], node_open: Sequence[float]) -> Diagram:
    """Draws how often each path and node is used, from 0 to 1: [paths] and [nodes]."""
    shares = dict(zip(space.nodes, node_open, strict=True))

    def disc(node: Node) -> tuple[float, float, str]:
        return (RADIUS, shares[node], f"open for {shares[node]:.1%} of the images")

    return _grid_diagram(title, space, dict(zip(space.paths, path_open, strict=True)), disc, "used by a share of", None)


def _grid_diagram(
    title: str,
    space: RoutingSpace,
    weights: Mapping[Path, float],
    disc: Callable[[Node], tuple[float, float, str]],
    what: str,
    passes: Callable[[Path], bool] | None,
) -> Diagram:
    shapes: list[Line | Disc | Text] = [Text((8.0, 14.0), title)]
    shapes += [Text((8.0, TOP + ROW * scale + 4.0), f"1/{4 << scale}") for scale in range(SCALES)]
    closed, opened = [], []
    for path in space.paths:
        start, end, weight = _at(path.node), _target(path), weights[path]
        label = f"{path.node.name} {path.kind}: {what} {weight:.3g}"
        if weight > 0:
            opened.append(Line(start, end, FAINT + (WIDEST - FAINT) * weight, COLOR, 1.0, label))
        elif passes is not None and passes(path):
            passed = f"{path.node.name} {path.kind}: the input passed on"
            closed.append(Line(start, end, 1.6, GRAY, 1.0, passed))
        else:
            closed.append(Line(start, end, FAINT, GRAY, 0.4, label))
    shapes += [*closed, *sorted(opened, key=lambda line: line.width)]
    for node in space.nodes:
        radius, fill, state = disc(node)
        shapes.append(Disc(_at(node), radius, fill, COLOR if fill > 0 else GRAY, f"{node.name}: {state}"))
    shapes += [Disc((_x(space.depth), TOP + ROW * scale), 3.0, 1.0, GRAY, "head") for scale in range(SCALES)]
    shapes += [Text((_x(layer) - 4.0, TOP + ROW * SCALES - 10.0), str(layer)) for layer in range(0, space.depth, 5)]
    return Diagram(_x(space.depth) + 16.0, TOP + ROW * SCALES, title, shapes)


def _x(layer: int) -> float:
    return LEFT + STEP * (layer + 1)


def _at(node: Node) -> Point:
    return (_x(node.layer), TOP + ROW * node.scale)


def _target(path: Path) -> Point:
    """Returns the place where a path ends; in the last layer that is the head."""
    scale = path.node.scale + {"up": -1, "keep": 0, "down": 1}[path.kind]
    return (_x(path.node.layer + 1), TOP + ROW * scale)


def _svg_shape(shape: Line | Disc | Text) -> str:
    match shape:
        case Line(start, end, width, color, opacity, title):
            place = f'x1="{start[0]:g}" y1="{start[1]:g}" x2="{end[0]:g}" y2="{end[1]:g}"'
            stroke = f'stroke="{color}" stroke-width="{width:.3g}" stroke-opacity="{opacity:g}" stroke-linecap="round"'
            return f"<line {place} {stroke}><title>{escape(title)}</title></line>"
        case Disc(center, radius, fill, color, title):
            place = f'cx="{center[0]:g}" cy="{center[1]:g}" r="{radius:g}"'
            ring = f'fill="{_mixed(color, fill)}" stroke="{color}" stroke-width="1.5"'
            return f"<circle {place} {ring}><title>{escape(title)}</title></circle>"
        case Text(at, text):
            return f'<text x="{at[0]:g}" y="{at[1]:g}" fill="currentColor">{escape(text)}</text>'


def _mixed(color: str, share: float) -> str:
    """Mixes `share` of the color with white."""
    channels = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 + (channel - 255) * share):02x}" for channel in channels)


def _paint(image: Image, shapes: Sequence[Line | Disc | Text], scale: int) -> None:
    from PIL import ImageDraw, ImageFont

    draw, font = ImageDraw.Draw(image), ImageFont.load_default(12.0 * scale)
    for shape in shapes:
        match shape:
            case Line(start, end, width, color, opacity, _):
                ends = [(x * scale, y * scale) for x, y in (start, end)]
                draw.line(ends, _mixed(color, opacity), max(1, round(width * scale)))
            case Disc((x, y), radius, fill, color, _):
                box = [(v - radius) * scale for v in (x, y)] + [(v + radius) * scale for v in (x, y)]
                draw.ellipse(box, _mixed(color, fill), color, round(1.5 * scale))
            case Text((x, y), text):
                draw.text((x * scale, y * scale), text, "#1c2430", font, anchor="ls")
