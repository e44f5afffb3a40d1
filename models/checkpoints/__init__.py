"""Checkpoints: adroit's own folders, and what others publish."""
