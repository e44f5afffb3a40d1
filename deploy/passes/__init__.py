"""Graph passes over an ONNX model in memory (onnx_ir), each of one purpose and one file.

Every pass changes the model in place and returns how often it applied.
"""
