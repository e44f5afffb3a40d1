"""What an operator sees of a server: log, metrics, statistics."""
