"""Training from a recipe file."""
