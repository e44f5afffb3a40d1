"""How far float32 arithmetic may move the result of each PyTorch operation.

A rule gives the magnitude and the number of terms that tolerance.py takes. It bounds what PyTorch and ONNX Runtime
compute in float32, also where ONNX Runtime computes one operation as a chain of several, each of them rounded: the
magnitude is then that of the chain's terms before they cancel, so `1 + erf(x)` counts as 2 where it is nearly 0.

Operations that choose (a largest index, a comparison, floor, the nearest pixel) are exact here: they jump, and no
bound on their arguments bounds their results. Where rounding may change a choice, the perturbed runs of
rounding_model.py show it as a large movement.

1. call.py: one call of an operation, and what a rule is.
2. elementwise.py, products.py, norms.py, resampling.py: the rules, family by family.
3. exact.py: the operations that round nothing.
4. table.py: the rule of an operation, if it has one.
5. empirical.py: the error of an operation without a rule, measured.
"""
