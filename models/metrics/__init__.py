"""What a task is judged by. NumPy only: deployments are judged without torch."""
