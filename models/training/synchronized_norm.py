"""Batch norms whose statistics are of all processes' samples.

torch's SyncBatchNorm runs on no CPU, is no BatchNorm2d (what folds or settles norms would pass it by), and
takes variances as differences of squares on some devices, which adder sums (means near -3,000, deviations
near 5) do not survive in float32. This one is a BatchNorm2d with the same tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class SynchronizedBatchNorm2d(nn.BatchNorm2d):
    """As nn.BatchNorm2d of all processes' samples together; every process has equally many."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes x [N,C,H,W] by the statistics of all processes' samples."""
        if not self.training or not torch.distributed.is_initialized():
            return super().forward(x)
        processes = torch.distributed.get_world_size()
        values = x.float()
        mean = all_reduce(values.mean((0, 2, 3))) / processes
        centered = values - mean[:, None, None]
        variance = all_reduce(centered.square().mean((0, 2, 3))) / processes
        self._track(mean.detach(), variance.detach(), processes * x.numel() // x.shape[1])
        scale = self.weight * torch.rsqrt(variance + self.eps)
        result: Tensor = centered * scale[:, None, None] + self.bias[:, None, None]
        return result.to(x.dtype)

    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (count / max(1, count - 1)), share)


def synchronize_norms(network: nn.Module) -> None:
    """Turns every batch norm into one of all processes, in place: the tensors stay."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SynchronizedBatchNorm2d
