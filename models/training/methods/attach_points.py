"""Where self-regulation's exits sit in our networks: the modules after which one block ends and the next begins.

The paper speaks of encoder blocks, and of encoder and decoder blocks where there is a decoder. The official code
has exits after the first convolution, the first three stages, and the network's own logits.
"""

from __future__ import annotations

from torch import nn

from adroit.errors import UsageError
from adroit.models.networks.adder_resnet import AdderResNet
from adroit.models.networks.anti_aliased_resnet import AntiAliasedResNet
from adroit.models.networks.deeplabv3plus import DeepLabV3Plus
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.routing.space import SCALES


def attach_points(network: nn.Module) -> list[str]:
    """Module names, shallow to deep; the last one's block is that of the network's own logits.

    Routed networks: the stem (1/4), the cells at 1/8, 1/16 and 1/32 of the layers at a quarter, half and three
    quarters of the depth (their outputs before gates and paths), and the head's map at 1/4. Residual networks:
    stem and stages; DeepLabV3+: those of its backbone.

    Raises:
        UsageError: a network we know no points of.
    """
    if isinstance(network, DynamicRouting):
        cells = [f"backbone.all_cell_list.{s * network.space.depth // SCALES}.{s}.cell_ops" for s in range(1, SCALES)]
        return ["backbone.stem", *cells, "sem_seg_head.layer_decoder_list.0"]
    if isinstance(network, DeepLabV3Plus):
        return [f"backbone.{name}" for name in attach_points(network.backbone)]
    if isinstance(network, (AdderResNet, AntiAliasedResNet)):
        return ["maxpool", *(f"layer{stage + 1}" for stage in range(network.stages))]
    raise UsageError(
        f"where the exits of a {type(network).__name__} sit is not known", hint="set self_regulation.points to modules"
    )
