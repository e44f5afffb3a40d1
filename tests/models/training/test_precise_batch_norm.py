"""Batch-norm statistics run in."""

from __future__ import annotations

import torch
from torch import nn

from adroit.models.training.precise_batch_norm import recompute_batch_norm_statistics


def test_statistics_become_the_mean_over_the_batches() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm2d(3, momentum=0.2)).eval()
    network[0].running_mean.fill_(100.0)
    batches = [torch.randn(4, 3, 5, 5) * (i + 1) + i for i in range(3)]
    recompute_batch_norm_statistics(network, batches)
    expected_mean = torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0)
    expected_variance = torch.stack([b.var((0, 2, 3)) for b in batches]).mean(0)
    torch.testing.assert_close(network[0].running_mean, expected_mean)
    torch.testing.assert_close(network[0].running_var, expected_variance)
    assert network[0].momentum == 0.2 and not network.training
