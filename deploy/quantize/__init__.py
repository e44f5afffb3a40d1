"""From a float32 deployment of an adder network to one of 8 bits, after training.

    quantize.py     the whole way: which layers, in which order, the new deployment
    calibrate.py    the values that tensors take on images -> histogram.py -> grid.py: their 8-bit grids
    weights.py      weights on the grid of their layer's input
    bias.py         the means that rounding moves, measured and put back
    sensitivity.py  what each layer costs

The graph is changed by deploy/passes/quantise_adders.py.
"""
