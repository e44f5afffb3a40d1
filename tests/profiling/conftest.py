"""The routed deployments of tests/routes."""

from tests.routes.conftest import checkpoint, entries, image_folder, image_set, network, options

__all__ = ["checkpoint", "entries", "image_folder", "image_set", "network", "options"]
