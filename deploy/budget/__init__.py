"""Holding a routed network to a budget: gate thresholds calibrated to what they cost and what they lose."""
