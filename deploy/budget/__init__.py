"""Holding a routed network to a budget: gate thresholds calibrated to what they cost and what they lose.

The knob is a threshold on the gates' values. The other one, a bias before their tanh, also lowers the gates
that stay open, and loses far more: of the network of the recipe camvid-dynamic-budget, on 21 validation images,

    GFLOPs with threshold   0.328   0.299   0.289   0.258    mIoU   28.8 %   29.7 %   27.1 %   21.4 %
    GFLOPs with bias        0.347   0.313   0.305   0.254    mIoU   19.1 %   10.2 %   12.3 %    7.8 %

(as trained 0.356 GFLOPs, 30.8 %; `python -m benchmarks.budget_knobs CHECKPOINT CAMVID --steps 7`).
"""
