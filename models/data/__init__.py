"""Images and labels: reading them, and making them a network's input."""
