"""DeepLabV3+: layout, output sizes, and where dilation takes the place of a stride."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from adroit.errors import UsageError
from adroit.models.layers.anti_aliasing import AdaptiveAntiAlias, BinomialFilter, FilterChoice
from adroit.models.networks.architectures import build_network
from adroit.models.networks.deeplabv3plus import DeepLabV3Plus

NAME = "aa-deeplabv3plus-resnet101"


def small(kind: str = "adaptive", output_stride: int = 16) -> DeepLabV3Plus:
    """On ResNet-50, to be quick."""
    torch.manual_seed(0)
    return DeepLabV3Plus(50, 5, FilterChoice(kind, groups=2), output_stride).eval()


@pytest.mark.parametrize("size", [(65, 65), (64, 96), (71, 50)])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_logits_have_the_inputs_size(size: tuple[int, int], output_stride: int) -> None:
    network = small(output_stride=output_stride)
    with torch.no_grad():
        x = torch.randn(1, 3, *size)
        assert network(x).shape == (1, 5, *size)
        maps = [tuple(m.shape[2:]) for m in network.backbone.features(x)]
    pooled = tuple((s + 1) // 2 // 2 for s in size)
    assert maps[0] == pooled
    assert maps[-1] == tuple(-(-s // (output_stride // 4)) for s in pooled)


@pytest.mark.parametrize(("kind", "layer"), [("adaptive", AdaptiveAntiAlias), ("binomial", BinomialFilter)])
def test_dilated_stages_keep_their_filters_at_stride_1(kind: str, layer: type[nn.Module]) -> None:
    for output_stride, strides in ((16, [2, 2, 1]), (8, [2, 1, 1])):
        backbone = small(kind, output_stride).backbone
        for stage, stride in zip((2, 3, 4), strides, strict=True):
            block = backbone.get_submodule(f"layer{stage}.0")
            for place in ("conv3.0", "downsample.0"):
                result = block.get_submodule(place)
                assert isinstance(result, layer) and result.stride == stride


def test_dilation_starts_with_the_second_block_of_a_dilated_stage() -> None:
    backbone = small(output_stride=8).backbone
    dilations = [[block.conv2.dilation[0] for block in backbone.get_submodule(f"layer{stage}")] for stage in (2, 3, 4)]
    assert dilations == [[1] * 4, [1] + [2] * 5, [2, 4, 4]]


def test_the_plain_backbone_has_no_filter() -> None:
    assert not any(isinstance(m, AdaptiveAntiAlias | BinomialFilter) for m in small("none").modules())


def test_tensors_have_the_official_names_and_shapes() -> None:
    with torch.device("meta"):
        state = build_network(NAME).state_dict()
    expected = {
        "backbone.conv1.weight": (64, 3, 7, 7),
        "backbone.maxpool.1.conv.weight": (18, 64, 3, 3),
        "backbone.layer3.0.conv3.0.conv.weight": (18, 256, 3, 3),
        "backbone.layer4.0.downsample.0.bn.weight": (18,),
        "classifier.project.0.weight": (48, 256, 1, 1),
        "classifier.project.1.weight": (48,),
        "classifier.aspp.convs.0.0.weight": (256, 2048, 1, 1),
        "classifier.aspp.convs.3.0.weight": (256, 2048, 3, 3),
        "classifier.aspp.convs.4.1.weight": (256, 2048, 1, 1),
        "classifier.aspp.convs.4.2.running_mean": (256,),
        "classifier.aspp.project.0.weight": (256, 1280, 1, 1),
        "classifier.classifier.0.weight": (256, 304, 3, 3),
        "classifier.classifier.3.weight": (21, 256, 1, 1),
        "classifier.classifier.3.bias": (21,),
    }
    assert {key: tuple(state[key].shape) for key in expected} == expected
    assert not any(key.startswith(("backbone.fc", "backbone.avgpool")) for key in state)


def test_the_backbone_learns_its_statistics_slowly() -> None:
    network = small()
    assert {m.momentum for m in network.backbone.modules() if isinstance(m, nn.BatchNorm2d)} == {0.01}
    assert {m.momentum for m in network.classifier.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}


def test_another_output_stride_is_refused() -> None:
    with pytest.raises(UsageError, match="output_stride is 8 or 16"):
        build_network(NAME, {"output_stride": 32})


@pytest.mark.parametrize("kind", ["adaptive", "none"])
def test_every_module_runs_once(kind: str) -> None:
    network = small(kind)
    calls: dict[str, int] = {}
    for name, module in network.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda *_, name=name: calls.update({name: calls.get(name, 0) + 1}))
    with torch.no_grad():
        network(torch.randn(1, 3, 64, 64))
    leaves = {name for name, module in network.named_modules() if not list(module.children())}
    assert calls == dict.fromkeys(leaves, 1)
