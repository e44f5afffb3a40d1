"""What is seen of a server from outside: log, metrics, statistics."""
