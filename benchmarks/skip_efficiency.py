"""Whether the `if` and static forms of a routed network save time where they save operations, in ONNX Runtime.

    python -m benchmarks.skip_efficiency [--depth 16] [--width 16] [--routes 6] [--seconds 3] [--models FOLDER]

Random routes at about a third of the operations are forced by the gates' biases, and baked into static forms;
each is compared with the static form with every path open. All sessions take turns, one thread, one image. 1
means that every operation saved saved its time. The bars at 256 x 512 are 0.8 for `if` and 0.95 for static forms,
and that `if` with every path open takes no more than 1.1 times as long as the static form.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper

from adroit.deploy.deployment.names import GATE_THRESHOLD_INPUT
from adroit.deploy.export.routed import export_routed_graph
from adroit.deploy.onnx_file import OnnxFile, parse_model
from adroit.deploy.routing.route_counts import route_counts, skip_efficiency
from adroit.deploy.runtimes.native import native_library
from adroit.deploy.runtimes.upsampling import use_own_upsampling
from adroit.models.networks.dynamic_routing.forcing import force_gates
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.routing.route import Route
from adroit.models.routing.space import INIT, RoutingSpace
from adroit.models.training.precise_batch_norm import recompute_batch_norm_statistics
from benchmarks.measure import interleaved_medians, keep_results

CLASSES = 19
SIZES = ((256, 512), (512, 1024))
SHARE = 1 / 3
WHOLE = "static, all open"


def operations(route: Route, size: tuple[int, int], baked: bool = False) -> int:
    return sum(part.counts.total for part in route_counts(route, CLASSES, "normal", 1, size, baked))


def routes_at(space: RoutingSpace, share: float, count: int) -> list[Route]:
    """Random routes whose operations are within 0.03 of `share` of all, at the first size."""
    whole = operations(Route.all_open(space), SIZES[0])
    result: list[Route] = []
    for seed in range(10_000):
        random = np.random.default_rng(seed)
        chances = random.random(len(space.paths)) < random.uniform(0.05, 0.3)
        route = Route(space, tuple(bool(chance) for chance in chances)).normalized()
        if abs(operations(route, SIZES[0]) / whole - share) < 0.03:
            result.append(route)
        if len(result) == count:
            return result
    raise SystemExit(f"found {len(result)} of {count} routes at {share:.2f} of the operations")


def with_route(model: onnx.ModelProto, route: Route) -> onnx.ModelProto:
    """The same network with its gates' biases (b2) set so that it takes `route` for every image.

    Constants, unlike the input of deploy/routing/latency/forced.py, which makes a run some 4 % longer.
    """
    forced = onnx.ModelProto()
    forced.CopyFrom(model)
    modules = {
        "backbone.init_layer" if at == INIT else f"backbone.all_cell_list.{at.name}": at for at in route.space.nodes
    }
    for graph, node in _gates(forced.graph):
        (at,) = [at for module, at in modules.items() if node.name.startswith(f"{module}.")]
        values = np.where(route.open[route.space.gates(at)], 2.0, -2.0).astype(np.float32)
        # Gates with equal biases share one constant: each gets its own.
        node.input[4] = f"{node.name}.forced"
        graph.initializer.append(numpy_helper.from_array(values, node.input[4]))
    return forced


def _gates(graph: onnx.GraphProto):
    for node in graph.node:
        if node.op_type == "RoutingGate":
            yield graph, node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _gates(attribute.g)


def session_call(model: onnx.ModelProto, size: tuple[int, int]):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.register_custom_ops_library(str(native_library()))
    content = model.SerializeToString()
    lowered = use_own_upsampling(OnnxFile(content, parse_model(content)))
    session = onnxruntime.InferenceSession(lowered, options, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal((1, 3, *size), np.float32)
    return lambda: session.run(None, {"image": image, GATE_THRESHOLD_INPUT: np.zeros(1, np.float32)})


def exported(space: RoutingSpace, baked: Mapping[str, Route], folder: Path | None) -> dict[str, onnx.ModelProto]:
    """The `if` form, and by its name the static form of every route; `folder` keeps them for the next time."""
    torch.manual_seed(0)
    network = DynamicRouting(space.depth, space.width, CLASSES, "normal")
    recompute_batch_norm_statistics(network, [torch.randn(2, 3, 128, 256)])
    network.eval()
    models = {}
    for name, route in {"if": None, **baked}.items():
        path = folder / f"{space.depth} x {space.width} {name}.onnx" if folder else None
        if path and path.exists():
            models[name] = onnx.load(path)
            continue
        force_gates(network, route or Route.all_open(space))
        models[name] = export_routed_graph(network, "static" if route else "if", route)
        if path:
            onnx.save(models[name], path)
    return models


def row_of(name: str, route: Route, size: tuple[int, int], milliseconds: float, base: float) -> dict[str, Any]:
    """base: milliseconds of the static form with every path open."""
    done, every = operations(route, size, name.startswith("static")), operations(Route.all_open(route.space), size)
    efficiency = skip_efficiency(milliseconds, done, base, every)
    print(
        f"{size[0]} x {size[1]}  {name:15s}  {done / every:6.1%} of the operations  {milliseconds:7.2f} ms of "
        f"{base:.2f}  skip efficiency {'-' if efficiency is None else f'{efficiency:.2f}'}"
    )
    return {
        "size": list(size),
        "route": name,
        "open nodes": sum(map(route.is_open, route.space.nodes)),
        "live nodes": sum(map(route.is_live, route.space.nodes)),
        "share of operations": done / every,
        "milliseconds": milliseconds,
        "all open, static": base,
        "skip efficiency": efficiency,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=16)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--routes", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=3.0, help="of measuring, for each session")
    parser.add_argument("--models", type=Path, help="folder that keeps the exported models for the next time")
    arguments = parser.parse_args()
    space = RoutingSpace(arguments.depth, arguments.width)
    chosen = {f"route {i}": route for i, route in enumerate(routes_at(space, SHARE, arguments.routes))}
    forced = chosen | {"all open": Route.all_open(space), "all closed": Route.none(space)}
    baked = {f"static, {name}": route for name, route in chosen.items()} | {WHOLE: Route.all_open(space)}
    models = exported(space, baked, arguments.models)
    rows = []
    for size in SIZES:
        calls = {name: session_call(with_route(models["if"], route), size) for name, route in forced.items()}
        calls |= {name: session_call(models[name], size) for name in baked}
        times = interleaved_medians(calls, arguments.seconds)
        rows += [row_of(name, route, size, times[name], times[WHOLE]) for name, route in (forced | baked).items()]
    keep_results("skip_efficiency", f"python -m benchmarks.skip_efficiency --seconds {arguments.seconds:g}", rows)


if __name__ == "__main__":
    main()
