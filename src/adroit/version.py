"""The version of adroit, as `adroit --version` prints it and deployments record it."""

__version__ = "0.2.0.dev0"
