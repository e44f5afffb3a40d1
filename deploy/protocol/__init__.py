"""Protobuf messages of the Open Inference Protocol and of Triton's configuration, from open_inference.proto."""
