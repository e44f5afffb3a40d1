"""A torch operator alone, exported to ONNX as networks are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx
import torch

from adroit.deploy.operators.rules import translations
from adroit.deploy.passes.stamp_operators import stamp_operators


def export_operator(operator: Callable[..., Any], tensors: Sequence[torch.Tensor], names: Sequence[str]) -> Any:
    """The ONNX model of `operator(*tensors)`, with portable bodies; `names` are those of its inputs."""

    class Layer(torch.nn.Module):
        def forward(self, *values: torch.Tensor) -> Any:
            return operator(*values)

    program = torch.onnx.export(
        Layer().eval(),
        tuple(tensors),
        dynamo=True,
        input_names=list(names),
        custom_translation_table=translations(),
        verbose=False,
    )
    stamp_operators(program.model)
    return onnx.load_from_string(program.model_proto.SerializeToString())
