"""The official inference at batch 1, restated literally: an oracle that shares no code with the network.

A closed node sends python's 0.0 up and down; a node that only floats reach is skipped with its gate
(papers: arXiv 2003.10401; behavior of the published code). It reads the weights by their published
names. The head passes over floats: it begins at the deepest scale that holds a map.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

Value = Tensor | float
Weights = dict[str, Tensor]


def _conv(weights: Weights, name: str, x: Tensor, stride: int = 1, padding: int = 0, groups: int = 1) -> Tensor:
    return functional.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), stride, padding, 1, groups)


def _norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    w = {k: weights[f"{name}.norm.{k}"] for k in ("running_mean", "running_var", "weight", "bias")}
    return functional.batch_norm(x, w["running_mean"], w["running_var"], w["weight"], w["bias"], eps=1e-5)


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _stem(weights: Weights, x: Tensor) -> Tensor:
    x = _norm(weights, "stem.stem_1", _conv(weights, "stem.stem_1", x, stride=2)).relu()
    for name, stride in (("stem.stem_2", 1), ("stem.stem_3", 2)):
        x = _conv(weights, f"{name}.0", x, stride, 1, x.shape[1])
        x = _norm(weights, f"{name}.1", _conv(weights, f"{name}.1", x)).relu()
    return x


def _gate(weights: Weights, node: str, x: Tensor, small: bool) -> Tensor:
    name = f"{node}.gate_conv_beta"
    if small:
        x = functional.interpolate(x, scale_factor=0.25, mode="bilinear", align_corners=False)
    hidden = _norm(weights, f"{name}.0", _conv(weights, f"{name}.0", x)).relu()
    return _conv(weights, f"{name}.2", hidden.mean((2, 3), keepdim=True)).tanh().relu().flatten()


def _cell(weights: Weights, node: str, x: Tensor) -> Tensor:
    h = x
    for first in (0, 2):
        name = f"{node}.cell_ops._ops.0.op"
        h = _conv(weights, f"{name}.{first}", h, 1, 1, h.shape[1])
        h = _norm(weights, f"{name}.{first + 1}", _conv(weights, f"{name}.{first + 1}", h))
        h = h.relu() if first == 0 else h
    return h + x


def _node(weights: Weights, node: str, x: Value, small: bool) -> tuple[Value, Value, Value, list[float]]:
    """up, keep, down and the gates."""
    has_up, has_down = f"{node}.res_up.1.weight" in weights, f"{node}.res_down.1.weight" in weights
    count = 1 + has_up + has_down
    if isinstance(x, float):
        return 0.0, x, 0.0, [0.0] * count
    gates = _gate(weights, node, x, small)
    if gates.sum() < 1e-4:
        return 0.0, x, 0.0, [0.0] * count
    h = _cell(weights, node, x).relu()
    up: Value = 0.0
    down: Value = 0.0
    if has_up:
        up = gates[1] * _double(_norm(weights, f"{node}.res_up.1", _conv(weights, f"{node}.res_up.1", h)).relu())
    if has_down:
        name = f"{node}.res_down.1"
        down = gates[-1] * _norm(weights, name, _conv(weights, name, h, 2)).relu()
    return up, gates[0] * h, down, gates.tolist()


def _head(weights: Weights, features: list[Value]) -> Tensor:
    x: Value = 0.0
    for scale in (3, 2, 1, 0):
        feature = features[scale]
        if isinstance(feature, float):
            continue
        name = f"layer_decoder_list.{scale}"
        decoded = _norm(weights, name, _conv(weights, name, x + feature)).relu()
        x = _double(decoded) if scale else decoded
    assert isinstance(x, Tensor)
    x = _conv(weights, "predictor", x, 1, 1)
    return functional.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)


@torch.no_grad()
def official_inference(state: Weights, x: Tensor, depth: int, small: bool) -> tuple[Tensor, list[float]]:
    """Logits [1,classes,H,W] and all gates, of one image [1,3,H,W]."""
    backbone = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
    head = {k.removeprefix("sem_seg_head."): v for k, v in state.items() if k.startswith("sem_seg_head.")}
    stem = _stem(backbone, x)
    _, keep, down, gates = _node(backbone, "init_layer", stem, small)
    inputs: list[Value] = [keep, down]
    keeps: list[Value] = []
    for layer in range(depth):
        sent = [_node(backbone, f"all_cell_list.{layer}.{scale}", value, small) for scale, value in enumerate(inputs)]
        gates += [gate for _, _, _, of_node in sent for gate in of_node]
        keeps = [keep for _, keep, _, _ in sent]
        inputs = []
        for scale in range(min(len(sent) + 1, 4)):
            from_above = sent[scale - 1][2] if scale > 0 else 0.0
            kept = sent[scale][1] if scale < len(sent) else 0.0
            from_below = sent[scale + 1][0] if scale + 1 < len(sent) else 0.0
            inputs.append(from_above + kept + from_below)
    return _head(head, keeps), gates
