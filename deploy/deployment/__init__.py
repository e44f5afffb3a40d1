"""What a deployment is on disk: its description, reading it, and Triton's configuration of it."""
