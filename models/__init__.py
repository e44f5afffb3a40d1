"""Operators, layers, networks, training and checkpoints, in PyTorch.

Importing this package imports nothing heavy; each module imports what it needs.
"""
