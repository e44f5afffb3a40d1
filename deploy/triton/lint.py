"""Faults of a configuration that Triton refuses, or loads without a word and then serves other than meant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import text_format

from adroit import files
from adroit.deploy.protocol import open_inference_pb2 as pb
from adroit.errors import UsageError


def lint(path: Path, folder: str) -> list[str]:
    """Lists the faults of a configuration, when the server is started by `triton_command`.

    Args:
        path: a config.pbtxt. folder: the name of the model's folder.

    Raises:
        UsageError: a file that is no configuration.
    """
    try:
        # Fields that adroit never writes are Triton's own to check.
        text = files.read_text(path, "the configuration of Triton")
        config = text_format.Parse(text, pb.ModelConfig(), allow_unknown_field=True)
    except text_format.ParseError as error:
        raise UsageError(f"{path} is no configuration of Triton", facts={"reason": error}) from error
    return [*_renamed(config, folder), *_faults(config)]


def _renamed(config: pb.ModelConfig, folder: str) -> Iterator[str]:
    if config.name and config.name != folder:
        yield f"name is {json.dumps(config.name)}, and the folder has another, so Triton does not load it:" + (
            f" write name: {json.dumps(folder)}"
        )


def _faults(config: pb.ModelConfig) -> Iterator[str]:
    groups = config.instance_group
    if any(group.HasField("count") and group.count < 1 for group in groups):
        yield "instance_group.count is 0: Triton takes 1 instead"
    if config.HasField("dynamic_batching") and config.max_batch_size == 0:
        yield "dynamic_batching has no effect: max_batch_size is 0"
    if any(group.rate_limiter.resources for group in groups):
        yield "rate_limiter.resources have no effect: the server limits no rates (--rate-limit)"
    if config.response_cache.enable:
        yield "response_cache has no effect: the server has no cache (--cache-config)"
    accelerated = config.optimization.execution_accelerators.gpu_execution_accelerator
    if accelerated and groups and all(group.kind == pb.ModelInstanceGroup.KIND_CPU for group in groups):
        yield "gpu_execution_accelerator has no effect: every instance is on the CPU"
    for library in config.model_operations.op_library_filename:
        if not library.startswith("/"):
            yield f"op_library_filename {library} is looked for in the server's working directory: write it in full"
