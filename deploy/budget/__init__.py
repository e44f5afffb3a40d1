"""Holding a routed network to a budget: gate thresholds calibrated to what they cost and what they lose.

The knob is a threshold on the gates' values. The other one, a bias before their tanh, also lowers the gates
that stay open, and loses far more: of the network of the recipe camvid-dynamic-budget, on 21 validation images,

    GFLOPs with threshold   0.303   0.269   0.203   0.152    mIoU   32.5 %   33.0 %   28.8 %   24.4 %
    GFLOPs with bias        0.317   0.278   0.210   0.158    mIoU   19.5 %   18.6 %   17.9 %    5.2 %

(as trained 0.344 GFLOPs, 33.7 %; `python -m benchmarks.budget_knobs CHECKPOINT CAMVID --steps 7`).
"""
