"""An ONNX file without a deployment around it, of adroit's or anybody's: what can be said of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from adroit import files
from adroit.deploy.deployment.description import Description
from adroit.deploy.deployment.records import CheckpointRecord, ModelRecord, OperatorUse
from adroit.deploy.deployment.tensors import TensorSpec
from adroit.deploy.onnx_file import all_nodes
from adroit.deploy.operators.definitions import DOMAIN, operators
from adroit.errors import UnsupportedModel, UsageError

if TYPE_CHECKING:
    import onnx

SUFFIX = ".onnx"
# A free dimension that is no side of an image has so many where nobody says otherwise, and a free side so many pixels.
_USUAL_SIZE, _USUAL_SIDE = 16, 224


def is_bare_model(path: Path) -> bool:
    """Whether `path` is an ONNX file rather than the folder of a deployment."""
    return path.suffix == SUFFIX and not path.is_dir()


def describe_model(path: Path) -> Description:
    """A description of the file's inputs, outputs and operators of adroit's; it has no task and no preprocessing.

    Raises:
        UsageError: a file that cannot be read.
        UnsupportedModel: weights in other files, an input that is no tensor, or an operator of a later adroit.
    """
    model = _load(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    given = [value for value in model.graph.input if value.name not in constants]
    inputs = tuple(_spec(value, path) for value in given)
    if not inputs or not model.graph.output:
        raise UnsupportedModel(f"{path} has no input or no output")
    custom = Counter(node.op_type for node in all_nodes(model.graph) if node.domain == DOMAIN)
    unknown = sorted(set(custom) - set(operators()))
    if unknown:
        raise UnsupportedModel(
            f"{path} has operators that this adroit does not know: {', '.join(unknown)}", hint="upgrade adroit"
        )
    return Description(
        name=path.stem,
        architecture=path.name,
        task="tensors",
        form="operators",
        routing=None,
        inputs=inputs,
        outputs=tuple(_spec(value, path) for value in model.graph.output),
        input_size=_image_size(inputs[0]),
        usual_sizes={s: _USUAL_SIZE for spec in inputs for s in spec.shape if isinstance(s, str) and s not in _SIDES},
        preprocessing=None,
        labels=(),
        operators={name: OperatorUse(operators()[name].version, custom[name]) for name in sorted(custom)},
        checkpoint=CheckpointRecord("", {"file": path.name}),
        model=ModelRecord(path.name, files.sha256(path)),
        tools={"producer": f"{model.producer_name} {model.producer_version}".strip() or "unknown"},
    )


_SIDES = ("batch", "height", "width")


def _load(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise UsageError(f"cannot read {path}", facts={"reason": error}) from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise UnsupportedModel(
            f"the weights of {path} are in other files",
            hint=f"write one file: python -c \"import onnx; onnx.save(onnx.load('{path}'), 'whole.onnx')\"",
        )
    return model


def _spec(value: onnx.ValueInfoProto, path: Path) -> TensorSpec:
    import onnx

    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or tensor.elem_type == onnx.TensorProto.STRING:
        raise UnsupportedModel(f"{value.name} of {path} is no tensor of numbers")
    dims = tensor.shape.dim
    is_image = len(dims) == 4
    usual = {0: "batch", 2: "height", 3: "width"} if is_image else {0: "batch"}
    shape = tuple(
        d.dim_value if d.HasField("dim_value") else usual.get(axis, d.dim_param or f"{value.name}_{axis}")
        for axis, d in enumerate(dims)
    )
    return TensorSpec(value.name, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name, shape)


def _image_size(spec: TensorSpec) -> tuple[int, int] | None:
    """Height and width in pixels where the input has the shape of images."""
    if len(spec.shape) != 4:
        return None
    height, width = (side if isinstance(side, int) else _USUAL_SIDE for side in spec.shape[2:])
    return height, width
