"""NVIDIA's parser with creators of ours that record and refuse; in a process of its own.

    python -m tests.deploy.build.recorder FOLDER

FOLDER/task.json: {"creators": [{"name", "version", "namespace", "fields": {name: type}}], "models": [file, ...]}.
Prints a JSON list: for each model whether it was taken, the layers, the errors, and what each creator
was requested. A creator must refuse (return None): the parser of tensorrt-rtx aborts its process for
a plugin that it is given.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import tensorrt_rtx as trt


class Log(trt.ILogger):
    def __init__(self) -> None:
        trt.ILogger.__init__(self)

    def log(self, severity: Any, text: str) -> None:
        pass


class Creator(trt.IPluginCreatorV3One):
    """Records the fields of every plugin that the parser requests."""

    def __init__(self, description: dict[str, Any], requests: list[dict[str, Any]]) -> None:
        trt.IPluginCreatorV3One.__init__(self)
        self.name, self.plugin_version, self.plugin_namespace = (
            description["name"],
            description["version"],
            description["namespace"],
        )
        kinds = {"float": trt.PluginFieldType.FLOAT32, "floats": trt.PluginFieldType.FLOAT32}
        fields = [
            trt.PluginField(name, b"", kinds.get(kind, trt.PluginFieldType.INT32))
            for name, kind in description["fields"].items()
        ]
        self.field_names = trt.PluginFieldCollection(fields)
        self.requests = requests

    def create_plugin(self, name: str, fields: Any, phase: Any) -> None:
        values = {f.name: [f.type.name, f.data.tolist()] for f in fields}
        self.requests.append({"operator": self.name, "node": name, "fields": values})


def parse(path: Path, requests: list[dict[str, Any]]) -> dict[str, Any]:
    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    requests.clear()
    taken = parser.parse(path.read_bytes())
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    return {
        "taken": taken,
        "layers": [network.get_layer(i).type.name for i in range(network.num_layers)],
        "errors": [{"node": e.node_name(), "text": e.desc()} for e in errors],
        "requests": list(requests),
    }


def main(folder: Path) -> None:
    task = json.loads((folder / "task.json").read_text())
    requests: list[dict[str, Any]] = []
    creators = [Creator(description, requests) for description in task["creators"]]
    for creator in creators:
        trt.get_plugin_registry().register_creator(creator, creator.plugin_namespace)
    print(json.dumps([parse(folder / name, requests) for name in task["models"]]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
