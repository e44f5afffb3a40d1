"""The Open Inference Protocol as HTTP and gRPC share it: messages, datatypes, tensors, refusals."""
