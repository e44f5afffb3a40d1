"""One small interface to everything that runs a deployment."""
