"""A model with operators that nobody can count is profiled: what is missing is listed, with its share of the time."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import onnx
import onnx.parser
import pytest

from adroit.deploy.cli.profile import describe
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.records import ModelRecord
from adroit.deploy.deployment.tensors import TensorSpec
from adroit.deploy.measure.counts import ModelCounts
from adroit.deploy.profile.profile import Candidate, ProfileReport, profile
from adroit.deploy.report.html import write_html
from adroit.deploy.runtimes.options import RuntimeOptions
from tests.deploy.deployment.description import small_deployment

DETECTOR = """<ir_version: 10, opset_import: ["": 18]>
detector (float[1, 3, h, w] image) => (float[n, 3] logits)
    <int64[3] boxes_shape = {1, -1, 4}, int64[1] last = {2}, int64 most = {3}> {
    [conv] features = Conv (image, weight)
    [boxes] boxes = Reshape (features, boxes_shape)
    [best] best = ReduceMax (boxes, last)
    [turn] scores = Transpose <perm = [0, 2, 1]> (best)
    [choose] chosen = NonMaxSuppression (boxes, scores, most)
    [cast] numbers = Cast <to = 1> (chosen)
    [root] logits = Sqrt (numbers)
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> ProfileReport:
    model = onnx.parser.parse_model(DETECTOR)
    model.graph.initializer.append(onnx.helper.make_tensor("weight", onnx.TensorProto.FLOAT, (4, 3, 1, 1), [0.5] * 12))
    content = model.SerializeToString()
    deployment = small_deployment(
        tmp_path_factory.mktemp("detector") / "detector",
        name="detector",
        architecture="a user's",
        routing=None,
        inputs=(TensorSpec("image", "float32", (1, 3, "height", "width")),),
        outputs=(TensorSpec("logits", "float32", ("boxes", 3)),),
        input_size=(6, 8),
        model=ModelRecord("1/model.onnx", hashlib.sha256(content).hexdigest()),
    )
    deployment.model_file.parent.mkdir()
    deployment.model_file.write_bytes(content)
    candidate = Candidate("detector", Deployment(deployment.path, deployment.info), RuntimeOptions(threads=1))
    return profile([candidate], None, 1, None, 0.01)


def test_the_json_lists_what_is_not_counted(report: ProfileReport) -> None:
    (candidate,) = json.loads(json.dumps(report.to_json()))["candidates"]
    assert candidate["latency_milliseconds"]["median"] > 0
    assert candidate["operations_complete"] is False
    assert candidate["operations"]["multiply_adds"] == 48 * 4 * 3
    assert candidate["operations"]["elementwise"] == 48 * 4
    choose, root = candidate["not_counted"]
    assert (choose["node"], choose["operator"]) == ("choose", "NonMaxSuppression")
    assert choose["reason"] == "there is no formula for NonMaxSuppression"
    assert 0 < choose["share"] < 1
    assert choose["milliseconds"] > 0
    assert root["reason"] == "the shape of logits is not known"


def test_the_text_says_at_least_and_lists_them(report: ProfileReport) -> None:
    text = describe(report, layers=False)
    assert "at least 576" in text
    (line,) = [line for line in text.splitlines() if "NonMaxSuppression" in line]
    assert line.split()[0] == "choose"
    assert "%" in line


def test_a_node_without_a_time_has_a_dash(report: ProfileReport) -> None:
    (candidate,) = report.candidates
    untimed = dataclasses.replace(candidate, nodes=type(candidate.nodes)())
    text = describe(ProfileReport(report.machine, [untimed]), layers=False)
    (line,) = [line for line in text.splitlines() if "NonMaxSuppression" in line]
    assert line.split()[2:4] == ["-", "-"]


def test_the_page_shows_them(report: ProfileReport, tmp_path: Path) -> None:
    values = json.loads(json.dumps(report.to_json()))
    write_html(tmp_path / "report.html", "profile", title="adroit profile", figures=[], **values)
    page = (tmp_path / "report.html").read_text()
    assert "at least 576" in page
    assert "there is no formula for NonMaxSuppression" in page


def test_a_complete_count_is_no_bound_and_a_counted_branch_is_named(report: ProfileReport, tmp_path: Path) -> None:
    (candidate,) = report.candidates
    complete = ModelCounts(candidate.layers, branches={"choice": "else_branch"})
    whole = ProfileReport(report.machine, [dataclasses.replace(candidate, counted=complete)])
    write_html(tmp_path / "report.html", "profile", title="adroit profile", figures=[], **whole.to_json())
    for text in (describe(whole, layers=False), (tmp_path / "report.html").read_text()):
        assert "at least" not in text
        assert "not counted" not in text
        assert "else_branch of choice" in text
