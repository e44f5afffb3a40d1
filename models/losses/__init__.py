"""Losses beyond the task's own."""
