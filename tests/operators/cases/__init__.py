"""The case table and the reference of each operator."""
