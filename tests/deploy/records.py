"""Records of builds that were never made, and a description changed on disk, for tests."""

from __future__ import annotations

from typing import Any

import msgspec

from adroit.deploy.deployment.builds import PlanRecord, TensorRTBuild, TensorRTRtxBuild
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.writer import write_description

_PLAN: dict[str, Any] = {
    "precision": "fp32",
    "model": "0" * 64,
    "adroit": "0",
    "builder": "none",
    "file": "2/model.plan",
    "sha256": "0" * 64,
    "bytes": 0,
    "form": "plugins",
    "profiles": {},
    "plan": PlanRecord("tensorrt", "10.3.0.26", ()),
    "layers": 0,
    "gpu": None,
    "plugins": None,
    "version_compatible": False,
    "weights_stripped": False,
    "keep": (),
    "seconds": 0.0,
}


def plan_record(**changes: Any) -> TensorRTBuild:
    """The record of a plan of TensorRT, but for `changes`."""
    return TensorRTBuild(**{**_PLAN, **changes})


def rtx_plan_record(**changes: Any) -> TensorRTRtxBuild:
    """The record of a plan of TensorRT-RTX, but for `changes`."""
    return TensorRTRtxBuild(**{**_PLAN, "form": "functions", **changes})


def rewritten(deployment: Deployment, **changes: Any) -> Deployment:
    """`deployment` with `changes` in its description, on disk too."""
    info = msgspec.structs.replace(deployment.info, **changes)
    write_description(deployment.path, info)
    return Deployment(deployment.path, info)
