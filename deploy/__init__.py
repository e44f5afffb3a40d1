"""The toolchain: export, graph passes, runtimes, parity, profile, command line."""

__version__ = "0.1.0"
