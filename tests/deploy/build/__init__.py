"""The build of engines: what can be proved without a GPU."""
