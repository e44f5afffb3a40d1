"""Two knobs that lower a routed network's cost: a threshold on its gates' values, or a bias before their tanh.

    python -m benchmarks.budget_knobs CHECKPOINT CAMVID [--every 5] [--steps 8]

A threshold closes gates and leaves the others as they are; a bias also lowers every gate that stays open.
Both are swept over the quantiles of the open gates, on every n-th validation image, in PyTorch; the rows tell
mean operations and mean intersection over union.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from adroit.deploy.routing.budget.agreement import ThresholdAgreement
from adroit.models.checkpoints.checkpoint import load_checkpoint
from adroit.models.data.images import read_images
from adroit.models.networks.dynamic_routing.network import DynamicRouting
from adroit.models.routing.cost import cost_table
from adroit.models.routing.route import Route
from benchmarks.measure import keep_results

VOID = 11


class Bench:
    """The network on the validation images."""

    def __init__(self, checkpoint: Path, camvid: Path, every: int) -> None:
        network, config = load_checkpoint(checkpoint)
        assert isinstance(network, DynamicRouting)
        images = read_images(camvid / "val")
        assert images.maps is not None
        self.network, self.steps = network, config.preprocessing
        self.pairs = [(images.load(i), images.maps(i)) for i in range(0, len(images), every)]
        self.biases = [network.backbone.node(at).gate_conv_beta.last()[1] for at in network.space.nodes]
        self.trained = [bias.detach().clone() for bias in self.biases]

    @torch.no_grad()
    def run(self, threshold: float = 0.0, shift: float = 0.0) -> tuple[float, float, np.ndarray]:
        """Mean operations / 1e9, mIoU, and all gates [images,paths]; `shift` is subtracted before the tanh."""
        for bias, trained in zip(self.biases, self.trained, strict=True):
            bias.copy_(trained - shift)
        agreement, costs, seen = ThresholdAgreement(VOID), [], []
        for image, labels in self.pairs:
            x = torch.from_numpy(self.steps.values(image[None]))
            logits, gates = self.network(x, torch.tensor([threshold]), with_gates=True)
            table = cost_table(
                self.network.space, (x.shape[2], x.shape[3]), VOID, self.network.gate, stem=self.network.stem
            )
            costs.append(table.of_route(Route.from_gates(self.network.space, gates[0].numpy())).total / 1e9)
            result = self.steps.unpadded(logits[0].argmax(0).numpy(), labels.shape)
            agreement.add(result, result, labels)
            seen.append(gates[0].numpy())
        return float(np.mean(costs)), agreement.accuracy or 0.0, np.array(seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    arguments = parser.parse_args()
    bench = Bench(arguments.checkpoint, arguments.camvid, arguments.every)
    cost, accuracy, gates = bench.run()
    print(f"as trained            {cost:.4f} GFLOPs  mIoU {accuracy:.2%}", flush=True)
    rows = [{"knob": "none", "value": 0.0, "GFLOPs": cost, "mIoU": accuracy}]
    levels = np.quantile(gates[gates > 0], np.linspace(0.0, 0.95, arguments.steps))
    for level in map(float, levels):
        # The same gates would close by either knob if none influenced another.
        for knob, value in (("threshold", level), ("bias", float(np.arctanh(min(level, 1 - 1e-7))))):
            cost, accuracy, _ = bench.run(**{"threshold" if knob == "threshold" else "shift": value})
            rows.append({"knob": knob, "value": value, "GFLOPs": cost, "mIoU": accuracy})
            print(f"{knob:9s}  {value:9.4f}  {cost:.4f} GFLOPs  mIoU {accuracy:.2%}", flush=True)
    keep_results("budget_knobs", "python -m benchmarks.budget_knobs CHECKPOINT CAMVID", rows)


if __name__ == "__main__":
    main()
