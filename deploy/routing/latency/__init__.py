"""Latency of a routed network, by route: measured on images, predicted for any other route.

Read it in this order:

1. forced.py: a session whose gates the caller sets, so that any route can run without an image that takes it.
2. speed.py: the speed of the machine during a measurement, from a reference run.
3. table.py: a latency table, and the fit of its parts to measured routes; table_runs.py measures them.
4. prediction.py: the error of a table's predictions.
5. losses.py, memory.py: where saved operations save no time; memory with every path open.
6. route_latency.py: all of it for one deployment and its images. Start here to use the room.
"""
