"""Measurements side by side in one process, each printing ratios and keeping its figures as JSON."""
