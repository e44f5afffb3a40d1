"""Weights to begin with: another training's, with a head of this one's classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adroit.errors import UsageError
from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.checkpoints.fitting import fit_weights
from adroit.models.networks.architectures import architecture_named, build_network, class_argument
from adroit.models.training.methods.base import Teacher
from adroit.models.training.tables import InitialRecipe


def read_teacher(folder: str) -> Teacher | None:
    """The checkpoint, its parameters without gradient; None for "". Raises as load_checkpoint."""
    if not folder:
        return None
    network, config = load_checkpoint(Path(folder))
    return Teacher(network.requires_grad_(False), config)


def head_tensors(architecture: str, arguments: Mapping[str, Any]) -> set[str]:
    """Names in the state of every tensor whose shape follows the number of classes."""
    argument, classes = class_argument(architecture_named(architecture), arguments)
    shapes = []
    for count in (classes, classes + 1):
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            network = build_network(architecture, {**arguments, argument: count})
        shapes.append({name: tensor.shape for name, tensor in network.state_dict().items()})
    return {name for name, shape in shapes[0].items() if shape != shapes[1][name]}


def apply_initial(network: nn.Module, architecture: str, arguments: Mapping[str, Any], initial: InitialRecipe) -> None:
    """Gives the network the weights that the recipe says, and freezes what it says.

    Raises:
        UsageError: no checkpoint there, or one of another architecture (a classifier that is the whole backbone
            of this one is taken).
        UnsupportedModel: weights of another shape.
    """
    head = head_tensors(architecture, arguments)
    if initial.checkpoint:
        other, config = load_checkpoint(Path(initial.checkpoint))
        tensors, own = dict(other.state_dict()), network.state_dict()
        if config.architecture != architecture:
            tensors = _as_backbone(tensors, own)
            if not tensors:
                raise UsageError(
                    f"initial.checkpoint {initial.checkpoint} is of {config.architecture}, the recipe of {architecture}"
                )
        elif initial.head == "new":
            tensors = {n: t for n, t in tensors.items() if n not in head} | {n: own[n] for n in head}
        fit_weights(network, tensors, initial.checkpoint, architecture)
    if initial.trainable == "head":
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in head)


def _as_backbone(tensors: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A classifier's tensors below `backbone.`, the rest as it is; empty where they are not all that is there."""
    below = {f"backbone.{name}": tensor for name, tensor in tensors.items()}
    matching = {name: tensor for name, tensor in below.items() if name in own}
    whole = all(name in matching for name in own if name.startswith("backbone."))
    return {**own, **matching} if matching and whole else {}


def set_training_mode(network: nn.Module, head_only: bool) -> None:
    """Training mode; with `head_only` of those modules alone that have weights to train: frozen norms keep still."""
    network.train(not head_only)
    if head_only:
        for module in network.modules():
            if any(p.requires_grad for p in module.parameters(recurse=False)):
                module.train()
