"""The networks, one file a family; models/networks/architectures.py names them."""
