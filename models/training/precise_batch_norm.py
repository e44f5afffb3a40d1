"""Batch-norm statistics that fit the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def recompute_batch_norm_statistics(
    network: nn.Module, batches: Iterable[Tensor], run: Callable[[Tensor], object] | None = None
) -> None:
    """Replaces the running statistics of every batch norm by their mean over `batches` ("precise BN").

    A network evaluated with statistics that are not its own computes something else than it trained:
    the gates of a freshly initialized routed network, for one, close by the dozen.

    Args:
        network: left in the mode it was in. batches: inputs of its forward, at least one.
        run: what is done with each; the network's forward if None.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    was_training = network.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    network.train()
    with torch.no_grad():
        for batch in batches:
            (run or network)(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.train(was_training)
