"""Full Triton Inference Servers on the same repository: their configurations, checks and command."""
