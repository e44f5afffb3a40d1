"""Makes adroit's networks by their arguments; what a network is made of is imported when it is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def cifar_resnet(blocks_per_stage: int) -> Callable[..., nn.Module]:
    """Adder ResNets of the CIFAR kind, with so many blocks a stage."""

    def build(classes: int, kind: str) -> nn.Module:
        from adroit.models.networks.adder_resnet import cifar_resnet

        return cifar_resnet(blocks_per_stage, classes, kind)

    return build


def imagenet_resnet(depth: int) -> Callable[..., nn.Module]:
    """Adder ResNets of the ImageNet kind, of a depth."""

    def build(classes: int, kind: str) -> nn.Module:
        from adroit.models.networks.adder_resnet import imagenet_resnet

        return imagenet_resnet(depth, classes, kind)

    return build


def build_vgg_small(classes: int, kind: str) -> nn.Module:
    """VGG-small, of adder layers."""
    from adroit.models.networks.adder_small import VggSmall

    return VggSmall(classes, kind)


def build_lenet5_bn(classes: int, kind: str) -> nn.Module:
    """LeNet-5 with batch norms, of adder layers."""
    from adroit.models.networks.adder_small import LeNet5BN

    return LeNet5BN(classes, kind)


def build_dynamic_routing(
    depth: int, width: int, classes: int, gate: Any, drop_path: float, stem_channels: int, separable_stem: bool
) -> nn.Module:
    """Networks of Dynamic Routing."""
    from adroit.models.networks.dynamic_routing.network import DynamicRouting
    from adroit.models.routing.space import StemShape

    return DynamicRouting(depth, width, classes, gate, drop_path, StemShape(stem_channels, separable_stem))


def anti_aliased_resnet(depth: int) -> Callable[..., nn.Module]:
    """Anti-aliased ResNets of a depth."""

    def build(
        classes: int, filter: str, filter_size: int, groups: int, joint_softmax: bool, pool_only: bool
    ) -> nn.Module:
        from adroit.models.layers.anti_aliasing import filter_choice
        from adroit.models.networks.anti_aliased_resnet import anti_aliased_resnet

        return anti_aliased_resnet(depth, classes, filter_choice(filter, filter_size, groups, joint_softmax), pool_only)

    return build


def anti_aliased_cifar_resnet(blocks_per_stage: int) -> Callable[..., nn.Module]:
    """Anti-aliased ResNets of the CIFAR kind, with so many blocks a stage."""

    def build(classes: int, filter: str, filter_size: int, groups: int, joint_softmax: bool, width: int) -> nn.Module:
        from adroit.models.layers.anti_aliasing import filter_choice
        from adroit.models.networks.anti_aliased_resnet import anti_aliased_cifar_resnet

        choice = filter_choice(filter, filter_size, groups, joint_softmax)
        return anti_aliased_cifar_resnet(blocks_per_stage, width, classes, choice)

    return build


def anti_aliased_deeplab(depth: int) -> Callable[..., nn.Module]:
    """Anti-aliased DeepLabV3+ on a ResNet of a depth."""

    def build(
        classes: int, filter: str, filter_size: int, groups: int, joint_softmax: bool, output_stride: int
    ) -> nn.Module:
        from adroit.models.layers.anti_aliasing import filter_choice
        from adroit.models.networks.deeplabv3plus import DeepLabV3Plus

        choice = filter_choice(filter, filter_size, groups, joint_softmax)
        return DeepLabV3Plus(depth, classes, choice, output_stride)

    return build


def build_wide_resnet(depth: int, widen: int, classes: int, slope: float, shortcut: Any, stem_stride: int) -> nn.Module:
    """Wide ResNets."""
    from adroit.models.networks.wide_resnet import WideResNet

    return WideResNet(depth, widen, classes, slope, shortcut, stem_stride)
