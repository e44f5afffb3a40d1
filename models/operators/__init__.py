"""The operators of plugins/operators.toml in PyTorch: reference arithmetic and gradients."""
