"""Messages of the Open Inference Protocol and of Triton's configuration, generated from open_inference.proto."""
