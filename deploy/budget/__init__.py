"""Holding a routed network to a budget: gate thresholds calibrated to what they cost and what they lose.

The knob is a threshold on the gates' values. The other one, a bias before their tanh, also lowers the gates
that stay open, and loses far more: of the network of the recipe camvid-dynamic-budget, on 21 validation images,

    GFLOPs with threshold   0.328   0.301   0.279   0.247    mIoU   28.8 %   28.4 %   25.1 %   19.1 %
    GFLOPs with bias        0.346   0.318   0.305   0.266    mIoU   19.1 %    9.8 %   13.7 %    6.3 %

(as trained 0.359 GFLOPs, 30.8 %; `python -m benchmarks.budget_knobs CHECKPOINT CAMVID --steps 7`).
"""
