"""The routing space, its routes and their cost. Imports no torch: deployments use it without."""
