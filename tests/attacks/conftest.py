"""The routed deployments of tests/routes."""

from tests.routes.conftest import checkpoint, entries, network, options

__all__ = ["checkpoint", "entries", "network", "options"]
