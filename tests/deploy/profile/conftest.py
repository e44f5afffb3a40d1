"""The routed deployments of tests/deploy/routing."""

from tests.deploy.routing.conftest import checkpoint, deployments, image_folder, image_set, network, options

__all__ = ["checkpoint", "deployments", "image_folder", "image_set", "network", "options"]
