"""Pictures show every path once, as wide as its gate, in SVG and in PNG."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from adroit.deploy.routing.diagram import Diagram, route_diagram, usage_diagram
from adroit.models.routing.route import Route
from adroit.models.routing.space import INIT, Node, Path, RoutingSpace

SPACE = RoutingSpace(5, 8)
SVG = "{http://www.w3.org/2000/svg}"


def gates_and_route() -> tuple[list[float], Route]:
    gates = {Path(INIT, "keep"): 0.25, Path(INIT, "down"): 1.0, Path(Node(0, 1), "keep"): 0.5}
    values = [gates.get(path, 0.0) for path in SPACE.paths]
    return values, Route.from_gates(SPACE, values)


def drawn(diagram: Diagram) -> ElementTree.Element:
    return ElementTree.fromstring(diagram.svg())


def lines(diagram: Diagram) -> dict[str, ElementTree.Element]:
    """Returns the lines by the path that their tooltip names."""
    result = drawn(diagram).findall(f"{SVG}line")
    return {line.findtext(f"{SVG}title", "").split(":")[0]: line for line in result}


def test_a_path_is_as_wide_as_its_gate() -> None:
    values, route = gates_and_route()
    result = lines(route_diagram("route", route, values))
    assert set(result) == {f"{path.node.name} {path.kind}" for path in SPACE.paths}
    widths = [float(result[name].attrib["stroke-width"]) for name in ("init keep", "0.1 keep", "init down", "0.0 down")]
    assert widths[3] < widths[0] < widths[1] < widths[2]
    assert widths[1] - widths[0] == pytest.approx((widths[2] - widths[1]) / 2, rel=0.01)
    assert float(result["0.0 down"].attrib["stroke-opacity"]) < float(result["init keep"].attrib["stroke-opacity"])


def test_lines_lead_from_node_to_node() -> None:
    values, route = gates_and_route()
    result = lines(route_diagram("route", route, values))
    ends = {name: tuple(float(line.attrib[k]) for k in ("x1", "y1", "x2", "y2")) for name, line in result.items()}
    assert ends["init down"][2:] == ends["0.1 keep"][:2] == ends["0.1 up"][:2]
    assert ends["0.1 up"][2:] == ends["1.0 keep"][:2]
    assert ends["1.0 keep"][1] == ends["1.0 keep"][3]


def test_nodes_show_whether_they_compute() -> None:
    values, route = gates_and_route()
    circles = drawn(route_diagram("route", route, values)).findall(f"{SVG}circle")
    states = [circle.findtext(f"{SVG}title", "") for circle in circles]
    assert "init: open" in states and "1.1: passes its input on" in states and "1.2: nothing arrives" in states
    assert len(states) == len(SPACE.nodes) + 4  # and the head's four inputs


def test_the_png_has_the_same_lines() -> None:
    values, route = gates_and_route()
    diagram = route_diagram("route", route, values)
    image = np.asarray(Image.open(io.BytesIO(diagram.png(scale=2))).convert("RGB")).astype(int)
    assert image.shape == (round(diagram.height * 2), round(diagram.width * 2), 3)
    for name, line in lines(diagram).items():
        x, y = ((float(line.attrib[f"{k}1"]) * 3 + float(line.attrib[f"{k}2"])) / 4 for k in ("x", "y"))
        across = image[round(y * 2) - 12 : round(y * 2) + 12, round(x * 2)]
        blue = (across[:, 2] - across[:, 0] > 80).sum()
        is_open = line.attrib["stroke"] == "#3b6fd4"
        assert (blue > 3) == is_open or not is_open, name
    blues = (image[:, :, 2] - image[:, :, 0] > 80).sum()
    closed = route_diagram("none", Route.none(SPACE)).png(scale=2)
    nothing = np.asarray(Image.open(io.BytesIO(closed)).convert("RGB")).astype(int)
    assert blues > 2000 and (nothing[:, :, 2] - nothing[:, :, 0] > 80).sum() == 0


def test_a_usage_map_is_as_wide_as_the_shares() -> None:
    random = np.random.default_rng(0)
    shares = random.random(len(SPACE.paths))
    result = lines(usage_diagram("use", SPACE, shares.tolist(), [0.5] * len(SPACE.nodes)))
    widths = [float(result[f"{path.node.name} {path.kind}"].attrib["stroke-width"]) for path in SPACE.paths]
    assert np.corrcoef(widths, shares)[0, 1] > 0.9999


def test_titles_are_escaped() -> None:
    diagram = route_diagram("<script>&", Route.none(SPACE))
    assert "<script>" not in diagram.svg() and drawn(diagram).findtext(f"{SVG}title") == "<script>&"
