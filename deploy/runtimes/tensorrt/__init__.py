"""TensorRT's three runtimes: full, lean (version-compatible plans), and RTX."""
