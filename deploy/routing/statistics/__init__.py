"""Statistics of the routes that a data set's images take.

Read it in this order: route_statistics.py composes the others and is the way in; splits.py (cost by image size,
correlation with the loss), batches.py (cost of an image in a larger batch), margins.py (values of closed gates).
"""
