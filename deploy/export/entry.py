"""Writing a model repository entry from a checkpoint."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from pathlib import Path
from typing import Literal

import onnx

from deploy import __version__
from deploy.entry import FORMAT, MODEL, REFERENCE, Entry, EntryInfo, check_name
from deploy.export.graph import export_graph, inline_bodies
from deploy.export.triton import triton_config
from deploy.operators import DOMAIN, operators
from deploy.runtimes.base import TensorSpec
from models import files
from models.architectures import architecture_named
from models.checkpoint import WEIGHTS, load_checkpoint, save_checkpoint
from models.errors import UsageError

Form = Literal["operators", "portable"]


def export_entry(checkpoint: Path, repository: Path, name: str | None = None, form: Form = "operators") -> Entry:
    """Exports the checkpoint at `checkpoint` to `repository`/`name`, whole or not at all.

    Args:
        name: the entry's name; the architecture's if None.
        form: "operators" writes adroit's operators with their portable bodies, "portable" standard
            ONNX operators only.

    Raises:
        UsageError: unreadable checkpoint, a name that is none, an unwritable repository.
        UnsupportedModel: weights that do not fit or are not finite, or a network that cannot be traced.
    """
    network, config = load_checkpoint(checkpoint)
    architecture = architecture_named(config.architecture)
    name = check_name(name or architecture.name)
    folder = repository / name
    if folder.exists() and not (folder / "adroit.json").exists():
        raise UsageError(f"{folder} exists and is not a deployment", hint="choose another --name or folder")

    size = config.preprocessing.size or architecture.input_size
    channels = len(config.preprocessing.mean)
    model = export_graph(network, channels, size, architecture.any_size)
    if form == "portable":
        model = inline_bodies(model)
    custom = Counter(n.op_type for n in model.graph.node if n.domain == DOMAIN)
    inputs, outputs = (tuple(map(_spec, values)) for values in (model.graph.input, model.graph.output))

    with files.atomic_folder(folder) as temporary:
        files.write_bytes(temporary / MODEL, model.SerializeToString(deterministic=True))
        save_checkpoint(temporary / REFERENCE, network, config)
        info = EntryInfo(
            format=FORMAT,
            name=name,
            architecture=config.architecture,
            form=form,
            inputs=inputs,
            outputs=outputs,
            input_size=size,
            preprocessing=config.preprocessing,
            labels=tuple(config.labels),
            operators={n: {"version": operators()[n].version, "nodes": custom[n]} for n in sorted(custom)},
            checkpoint={"sha256": files.sha256(temporary / REFERENCE / WEIGHTS), "source": dict(config.source)},
            model={"file": MODEL, "sha256": files.sha256(temporary / MODEL)},
            tools={
                "adroit": __version__,
                **{t: importlib.metadata.version(t) for t in ("torch", "onnx", "onnxscript")},
            },
        )
        files.write_bytes(temporary / "config.pbtxt", triton_config(name, inputs, outputs).encode())
        info.write(temporary)
    return Entry.read(folder)


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(d.dim_param if d.HasField("dim_param") else d.dim_value for d in tensor.shape.dim)
    return TensorSpec(value.name, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name, shape)
