"""The training step of an adder layer never holds filters x taps x positions."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT

# 64 channels, 3 x 3, 56 x 56, batch 8: the one-line form's temporary alone is 3.7 GB.
STEP = """
import resource, torch
from adroit.models.layers.adder import AdderConv2d
layer = AdderConv2d(64, 64, 3, 1, 1)
x = torch.randn(8, 64, 56, 56, requires_grad=True)
small = torch.randn(1, 64, 8, 8, requires_grad=True)
layer(small).sum().backward()
open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here on
before = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() // 1024
layer(x).square().sum().backward()
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) - before)
"""


def test_training_step_stays_below_400_megabytes() -> None:
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, cwd=ROOT, check=True)
    kibibytes = int(done.stdout)
    # Input, output and gradients alone are 26 MB: a smaller figure would mean that nothing was measured.
    assert 26e6 < kibibytes * 1024 < 400e6
