"""Two inputs and two outputs, none of them an image alone.

    python examples/4_two_inputs.py FOLDER

adroit export examples/4_two_inputs.py:Policy --input view=3x32x32 --input state=4 -o FOLDER
adroit check FOLDER/Policy --data samples.npz        # arrays `view` and `state`, one row a sample
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import adroit


class Policy(nn.Module):
    """What a robot sees [N,3,32,32] and its state [N,4], to an action and the value of the state."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.feel = nn.Sequential(nn.Linear(4, 16), nn.Tanh())
        self.act, self.judge = nn.Linear(32, 2), nn.Linear(32, 1)

    def forward(self, view: Tensor, state: Tensor) -> dict[str, Tensor]:
        """Outputs keep the names of their keys."""
        both = torch.cat([self.see(view).mean((2, 3)), self.feel(state)], 1)
        return {"action": self.act(both).tanh(), "value": self.judge(both)}


def main(folder: Path) -> None:
    """Exports, checks every output, and runs one sample."""
    torch.manual_seed(0)
    example = {"view": torch.zeros(1, 3, 32, 32), "state": torch.zeros(1, 4)}
    deployment = adroit.export(Policy().eval(), folder / "policy", example=example)
    print(*deployment.info.inputs, *deployment.info.outputs, sep="\n")

    random = np.random.default_rng(0)
    samples = {
        "view": random.standard_normal((16, 3, 32, 32), np.float32),
        "state": random.standard_normal((16, 4), np.float32),
    }
    report = adroit.check(deployment, samples)
    print({name: round(comparison.used, 3) for name, comparison in report.outputs.items()})

    with adroit.open(deployment) as net:
        print(net.run({name: array[:1] for name, array in samples.items()})["action"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
