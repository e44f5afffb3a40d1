"""Training methods: what a network is taught, where it is more than its labels."""
