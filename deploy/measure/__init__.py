"""Measures operations, latency and the machine's own speed.

Read it in this order: timing.py (calls in turns, spread, ranks), reference.py (the speed of the machine), counts.py
(operations of an ONNX model, layer by layer), formulas/ (of each operator), sizes.py (shapes at one size of the
inputs), nodes.py (time of every node). deploy/routing measures routes with them, deploy/profile puts all of it into
one report.
"""
