"""Dynamic Routing for semantic segmentation (arXiv 2003.10401).

Modules and their tensors have the official names, so that its checkpoints fit. What a name does not
tell is said once, here: `cell_ops` is a node's cell, `res_up` and `res_down` its transitions,
`gate_conv_beta` its gate, `gate_weights_beta` the ones that stand for it in ungated networks.
"""
