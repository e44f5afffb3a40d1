"""The case table and the reference of each operator, one file each, for PyTorch, ONNX Runtime, TensorRT and GPUs.

CASES            rows for PyTorch and ONNX Runtime (tests/operators)
DEVICE_CASES     rows for the CUDA kernels (tests/gpu): tensors on any device, in any type
tensorrt_nodes() nodes for the host that plays TensorRT's builder (tests/native/tensorrt_host)

Their references are built from the definitions in tests/operators/references.py.
"""
