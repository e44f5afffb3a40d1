"""Measurements side by side in one process, each printing ratios and keeping its figures as JSON."""

import os

# They import ONNX Runtime themselves: its telemetry would be measured, too.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
