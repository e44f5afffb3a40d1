"""A model without the threshold input computes what one with it does, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.export.deployment import Routing, export_deployment
from adroit.deploy.parity.check import check_deployment
from adroit.deploy.runtimes.choices import RuntimeName
from adroit.deploy.runtimes.open import open_runtime
from adroit.deploy.runtimes.options import RuntimeOptions
from adroit.errors import UsageError
from adroit.models.data.images import ImageSet
from tests.models.networks.routed import images


@pytest.fixture(scope="module", params=[0.0, 0.3])
def baked(request: pytest.FixtureRequest, checkpoint: Path) -> Deployment:
    return export_deployment(checkpoint, checkpoint.parent, "baked", routing=Routing("if", None, request.param))


def test_threshold_baked_in_or_given_is_the_same_to_the_bit(
    baked: Deployment, routed_deployment: Deployment, options: RuntimeOptions
) -> None:
    threshold = baked.baked_threshold
    assert threshold is not None
    assert [spec.name for spec in baked.info.inputs] == ["image"]
    with open_runtime(baked, options) as fixed, open_runtime(routed_deployment, options) as free:
        for batch, size in ((1, (128, 160)), (4, (192, 128))):
            x = images(batch, size).float().numpy()
            result, expected = fixed.run(baked.feeds(x)), free.run(routed_deployment.feeds(x, threshold))
            for name, value in expected.items():
                np.testing.assert_array_equal(result[name], value)
            assert 0 < (result["gates"] > 0).mean() < 1


def test_parity_and_pytorch_know_the_baked_threshold(
    baked: Deployment, routed_deployment: Deployment, options: RuntimeOptions, labeled: ImageSet
) -> None:
    report = check_deployment(baked, labeled.first(4), options)
    assert report.passed and report.routes is not None and report.routes.different == 0
    pytorch = RuntimeOptions(RuntimeName.torch, threads=1)
    x = images(2).float().numpy()
    with open_runtime(baked, pytorch) as fixed, open_runtime(routed_deployment, pytorch) as free:
        result, expected = fixed.run(baked.feeds(x)), free.run(routed_deployment.feeds(x, baked.baked_threshold or 0.0))
    np.testing.assert_array_equal(result["logits"], expected["logits"])
    with pytest.raises(UsageError, match="baked in"):
        baked.feeds(x, 0.5)


@pytest.mark.parametrize("threshold", [-0.1, 1.0, float("nan")])
def test_a_threshold_that_no_gate_can_be_above_is_refused(threshold: float, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 0 and below 1"):
        export_deployment(checkpoint, tmp_path, routing=Routing("if", None, threshold))
    assert not list(tmp_path.iterdir())
