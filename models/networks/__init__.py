"""The networks, one file a family; models/architectures.py names them."""
