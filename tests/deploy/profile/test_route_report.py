"""The report of a routed network: JSON that holds every figure, and HTML that is made of it alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.records import RouteRecord
from adroit.deploy.profile.profile import Candidate, route_reports
from adroit.deploy.report.html import write_html
from adroit.deploy.report.routes import route_figures
from adroit.deploy.routing.collect import collect_routes
from adroit.deploy.routing.statistics.margins import gate_values
from adroit.deploy.routing.statistics.route_statistics import route_statistics
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.files import json_text
from adroit.models.data.images import ImageSet
from tests.conftest import Adroit, Result


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report") / "report.html"


@pytest.fixture(scope="module")
def profiled(
    report: Path, deployments: dict[str, Deployment], options: RuntimeOptions, image_folder: Path, adroit: Adroit
) -> Result:
    result = adroit(
        "profile", deployments["if"].path, deployments["masked"].path, "--data", image_folder, "--seconds", 0.1,
        "--threads", 1,
        "--operators", options.operators, "--html", report, "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    return result


def test_the_json_beside_the_report_is_what_was_printed(profiled: Result, report: Path) -> None:
    assert json.loads(report.with_suffix(".json").read_text()) == json.loads(profiled.out)


def test_the_routes_are_those_of_all_images(
    profiled: Result, deployments: dict[str, Deployment], options: RuntimeOptions, image_set: ImageSet
) -> None:
    # Two deployments of one network: its routes are reported once.
    (reported,) = json.loads(profiled.out)["routes"]
    samples, values = collect_routes(deployments["if"], options, image_set), gate_values(deployments["if"], image_set)
    expected = route_statistics(deployments["if"], samples, gate_values=values).to_json()
    closed, reported_closed = expected.pop("closed_margins"), reported.pop("closed_margins")
    assert reported_closed["histogram"] == closed["histogram"]
    assert reported_closed["minimum"] == pytest.approx(closed["minimum"], abs=1e-5)
    assert reported.pop("title") == "if onnxruntime"
    assert [image["image"] for image in reported.pop("latency")["images"]] == list(image_set.names)
    del expected["title"]
    assert reported == json.loads(json_text(expected))


def test_every_figure_is_made_of_the_json(profiled: Result, report: Path, tmp_path: Path) -> None:
    values = json.loads(report.with_suffix(".json").read_text())
    figures = [route_figures(statistics) for statistics in values["routes"]]
    write_html(tmp_path / "again.html", "profile", title="adroit profile", figures=figures, **values)
    assert (tmp_path / "again.html").read_text() == report.read_text()


def test_the_report_is_whole_and_needs_no_network(profiled: Result, report: Path) -> None:
    html = report.read_text()
    assert not re.search(r"https?:|<script|<link|url\(|@import", html)
    assert html.count("<svg") == html.count("</svg>") >= 3
    assert 'name="viewport"' in html


def test_a_tables_row_names_its_cells_for_narrow_screens(profiled: Result, report: Path) -> None:
    html = report.read_text()
    cards = re.search(r'<table class="cards">(.*?)</table>', html, re.S)
    assert cards is not None
    names = re.findall(r"<th>(.*?)</th>", cards.group(1))
    for row in re.findall(r"<tr>(<td.*?)</tr>", cards.group(1), re.S):
        assert re.findall(r'data-name="(.*?)"', row) == names


def test_static_routes_are_no_statistics(deployments: dict[str, Deployment], options: RuntimeOptions) -> None:
    """A baked route would be counted as the images' own."""
    deployment = deployments["if"]
    assert deployment.info.routing is not None
    baked = msgspec.structs.replace(deployment.info.routing, form="static", route=RouteRecord(4, 8, {}))
    static = Deployment(deployment.path, msgspec.structs.replace(deployment.info, routing=baked))
    none = ImageSet([], lambda i: None)  # type: ignore[arg-type, return-value]
    assert route_reports([Candidate("static", static, options)], none, 1.0) == []
