"""From an exported model to an engine: TensorRT, TensorRT-RTX, or ONNX Runtime's optimized file.

What can be checked before a builder is started is checked here (profiles, limits, precision); the
builder itself runs in a process of its own (worker.py), because NVIDIA's parser and builder may
abort theirs.
"""
