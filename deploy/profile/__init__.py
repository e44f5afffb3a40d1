"""What a deployment costs: operations, and time measured."""
