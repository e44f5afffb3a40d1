"""Measures of a network that any runtime can be put through."""
