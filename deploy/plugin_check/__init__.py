"""Reads a TensorRT plugin library, and finds the nodes of a model that it serves.

Read it in this order: library_file.py (the file), fatbin.py (its GPU code), loaded.py (its operators, as TensorRT
registers them), match.py (nodes against operators), check.py (the report; start here to use the room).
"""
