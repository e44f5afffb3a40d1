"""What answers a request: models, their queues, batches, budgets and memory."""
