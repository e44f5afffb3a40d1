"""The toolchain: export, graph passes, runtimes, parity, profile, routing, serving, command line."""
