"""Statistics of the routes that a data set's images take.

Read it in this order: route_statistics.py composes the others and is the way in; costs.py (cost of images by batch and
by size, correlation with the loss), margins.py (values of closed gates).
"""
