"""What is in a TensorRT plugin library, and which nodes of a model it serves."""
