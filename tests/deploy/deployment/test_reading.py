"""Descriptions of this format, of format 1, of a later one, and damaged ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adroit.deploy.deployment.builds import OnnxRuntimeBuild, Range, TensorRTBuild, TensorRTRtxBuild
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.description import FORMAT
from adroit.deploy.deployment.reading import description_from_json, read_description
from adroit.deploy.deployment.records import ParityVerdict
from adroit.deploy.deployment.writer import write_description
from adroit.errors import UsageError
from tests.deploy.deployment.description import budget_table, latency_table, small_description
from tests.deploy.records import plan_record, rtx_plan_record

# Written by the code of commit b323c2e, on random weights and images; the tables are made up, not measured.
FORMAT_1 = Path(__file__).parent / "format_1"
OLD = sorted(path.name for path in FORMAT_1.glob("*.json"))


def full_values() -> dict[str, Any]:
    """What adroit.json holds where every part is there, as JSON."""
    ranges = {"image": Range((1, 3, 32, 32), (2, 3, 32, 32), (4, 3, 32, 32))}
    description = small_description(
        parity=ParityVerdict(True, None, 3, {"runtime": "onnxruntime", "threads": None, "providers": ("CPU",)}),
        builds={"2": plan_record(profiles={"live": ranges}), "3": rtx_plan_record(refitted_from="2")},
        budget=budget_table(),
        latency=latency_table(),
    )
    values: dict[str, Any] = json.loads(json.dumps(msgspec.to_builtins(description)))
    return values


def test_what_is_written_is_read(tmp_path: Path) -> None:
    expected = description_from_json(full_values(), "x")
    write_description(tmp_path, expected)
    assert read_description(tmp_path) == expected
    assert json.loads((tmp_path / "adroit.json").read_text()) == full_values()
    kinds = [type(record) for record in expected.builds.values()]
    assert kinds == [TensorRTBuild, TensorRTRtxBuild]


@pytest.mark.parametrize("name", OLD)
def test_descriptions_of_format_1_are_read_whole(name: str, tmp_path: Path) -> None:
    old = json.loads((FORMAT_1 / name).read_text())
    info = description_from_json(old, name)
    assert (old["format"], info.format) == (1, FORMAT)
    assert info.preprocessing.mean == tuple(old["preprocessing"]["mean"])
    assert {name: (used.version, used.nodes) for name, used in info.operators.items()} == {
        name: (used["version"], used["nodes"]) for name, used in old["operators"].items()
    }
    if old["parity"] is not None:
        assert info.parity is not None
        verdict = {"passed": info.parity.passed, "used": info.parity.used, "images": info.parity.images}
        assert json.loads(json.dumps({**verdict, **info.parity.facts})) == old["parity"]
    if old["quantisation"] is not None:
        assert json.loads(json.dumps(msgspec.to_builtins(info.quantization))) == old["quantisation"]
    if old["latency"] is not None:
        assert json.loads(json.dumps(msgspec.to_builtins(info.latency))) == old["latency"]
    if old["routing"] is not None:
        assert json.loads(json.dumps(msgspec.to_builtins(info.routing))) == {**old["routing"], "stem": None}
    if old["budget"] is not None:
        settings = [{"instability": row.pop("unsteadiness"), **row} for row in old["budget"]["settings"]]
        assert json.loads(json.dumps(msgspec.to_builtins(info.budget))) == {**old["budget"], "settings": settings}
    # Written again, it is of this format.
    write_description(tmp_path, info)
    assert json.loads((tmp_path / "adroit.json").read_text())["format"] == FORMAT
    assert read_description(tmp_path) == info


def test_every_part_is_in_some_file_of_format_1() -> None:
    infos = [description_from_json(json.loads((FORMAT_1 / name).read_text()), name) for name in OLD]
    for part in ("parity", "quantization", "builds", "budget", "latency", "routing"):
        assert any(getattr(info, part) for info in infos), part
    assert any(isinstance(record, OnnxRuntimeBuild) for info in infos for record in info.builds.values())
    assert any(info.routing and info.routing.origin and info.routing.origin.agreement for info in infos)


DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no model": (lambda v: v.pop("model"), "adroit.json: model is missing"),
    "no sha256": (lambda v: v["model"].pop("sha256"), "adroit.json: model.sha256 is missing"),
    "a typo": (
        lambda v: v["routing"].update(gats="small"),
        "adroit.json: routing.gats is not a field of a deployment's description",
    ),
    "a table's row": (
        lambda v: v["budget"]["settings"][0].update(threshold="none"),
        "adroit.json: budget.settings[0].threshold must be a number, and is 'none'",
    ),
    "rows out of order": (
        lambda v: v["budget"]["settings"].reverse(),
        "adroit.json: budget: thresholds must rise from 0, and operations fall",
    ),
    "a latency": (lambda v: v["latency"]["parts"].update(always=-1.0), "adroit.json: latency.parts.always must not be"),
    "no inputs": (lambda v: v.update(inputs=[]), "adroit.json: inputs must have at least 1 items, and has 0"),
    "another task": (lambda v: v.update(task="detection"), "adroit.json: task must be one of classification, segm"),
    "nodes in words": (
        lambda v: v.update(operators={"AdderConv2d": {"version": 1, "nodes": "two"}}),
        "adroit.json: operators.AdderConv2d.nodes must be a whole number, and is 'two'",
    ),
    "a version of a build": (lambda v: v.update(builds={"../2": v["builds"]["2"]}), "adroit.json: builds"),
    "a build of nothing": (lambda v: v["builds"]["2"].update(backend="none"), "adroit.json: builds"),
    "labels": (lambda v: v.update(labels="cat"), "adroit.json: labels must be a list"),
    "a size": (lambda v: v.update(input_size=[32]), "adroit.json: input_size must be [height, width] in pixels"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_description_is_one_error_that_names_the_place(name: str) -> None:
    values = full_values()
    damage, message = DAMAGES[name]
    damage(values)
    with pytest.raises(UsageError) as refused:
        description_from_json(values, "adroit.json")
    assert str(refused.value.message).startswith(message), refused.value.message


def test_the_hint_names_the_field_that_was_meant() -> None:
    values = full_values()
    values["routing"]["thresold"] = values["routing"].pop("threshold")
    with pytest.raises(UsageError) as refused:
        description_from_json(values, "adroit.json")
    assert refused.value.hint == "did you mean routing.threshold?"


@pytest.mark.parametrize("part", ["budget", "latency", "parity"])
def test_a_part_that_can_be_measured_again_says_how(part: str) -> None:
    values = full_values()
    values[part] = 7
    with pytest.raises(UsageError) as refused:
        description_from_json(values, "adroit.json")
    assert refused.value.hint is not None and f"set {part} to null" in refused.value.hint


@pytest.mark.parametrize(("stored", "says"), [(3, "reads formats up to 2"), (0, "format is 0"), ("1", "format is '1'")])
def test_other_formats_are_refused(stored: object, says: str, tmp_path: Path) -> None:
    (tmp_path / "adroit.json").write_text(json.dumps({**full_values(), "format": stored}))
    with pytest.raises(UsageError, match=says) as refused:
        Deployment.read(tmp_path)
    if stored == 3:
        assert "upgrade" in str(refused.value.hint)
