"""Parity: a deployment against its PyTorch network in float64, on real images.

Read it in this order:

1. tolerance.py: the limit of one operation's rounding, the only home of that formula.
2. rounding/: how far float32 may move the result of each PyTorch operation: rules, or a measurement.
3. rounding_model.py: the limit of every tensor of a network, from the limits of its operations.
4. check.py: the comparison of a float deployment; reference.py holds its network.
5. quantized.py: the comparison of a deployment in 8 bits, part by part; segments.py computes its float parts.
6. labels.py, consistency.py: accuracy against labels, and stability under shifts, beside the comparison.
7. report.py, verdict.py: the report, its record in the deployment, its errors. verdict.py is the way in.
"""
