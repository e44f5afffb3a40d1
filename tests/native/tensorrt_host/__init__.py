"""The host that plays TensorRT's builder over a plugin library, and what it is given."""
