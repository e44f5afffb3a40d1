"""Holds a routed network to a budget: gate thresholds, calibrated by their cost and their loss of accuracy.

Read it in this order: table.py (a budget becomes a threshold), calibrate.py (measures the table), thresholds.py and
stability.py (which thresholds it measures), agreement.py (what a threshold loses), drift.py (whether the calibration
still holds for the images of a server).

The knob is a threshold on the gates' values. The other one, a bias before their tanh, also lowers the gates
that stay open, and loses far more: of the network of the recipe camvid-dynamic-budget, on 21 validation images,

    GFLOPs with threshold   0.296   0.268   0.238   0.177   0.143    mIoU   37.9 %   37.9 %   37.8 %   34.7 %   29.0 %
    GFLOPs with bias        0.310   0.263   0.241   0.200   0.149    mIoU   33.7 %   26.7 %   24.9 %   10.8 %    9.5 %

(as trained 0.324 GFLOPs, 38.0 %; `python -m benchmarks.budget_knobs CHECKPOINT CAMVID --steps 7`).
"""
