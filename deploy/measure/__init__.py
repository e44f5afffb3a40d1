"""Measuring: operations, latency, memory, and the machine's own speed."""
