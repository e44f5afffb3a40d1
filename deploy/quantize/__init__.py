"""From a float32 deployment of an adder network to one of 8 bits, after training.

    quantize.py     the whole way: which layers, in which order, the new deployment
    calibrate.py    the values that tensors take on images, counted in histogram.py
    grid.py         the integers of a tensor; weights.py: a layer's weights on the grid of its input
    bias.py         the means that rounding moves, measured and put back
    graph.py        the graph with quantized layers; store.py: the deployment round it
    sensitivity.py  what quantizing costs: the whole network, and each layer alone

How such a deployment is checked: deploy/parity/quantized.py.
"""
