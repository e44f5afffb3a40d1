"""The routes of a deployment with gates: which ones images take, what they cost, how to limit them.

Read it in this order:

1. collect.py: runs images and records the route, the gates and the operations of each.
2. route_counts.py: operations of any route, and the share of them that skipping saves in time.
3. statistics/: what the routes of a data set say together: cost, use of paths, margins, batches.
4. named_routes.py, replay.py, specialize.py: one route for all images: choose it, try it, bake it in.
5. latency/: measures and predicts the milliseconds of a route.
6. budget/: calibrates gate thresholds to a budget and looks one up.
7. diagram.py, diagram_files.py: draw a route.
"""
