"""Networks as users write them: what export, parity, profile and the stored reference are tried on.

`cases.py` lists them with their inputs and two sizes each.
"""
