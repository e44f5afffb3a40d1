"""The operators of the domain `adroit` for the toolchain: descriptions, schemas and rules.

`python -m adroit.deploy.operators new NAME` writes the files of a new one.
"""
