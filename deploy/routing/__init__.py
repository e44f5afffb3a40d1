"""The routes that a deployment's images take: collected, counted, drawn, baked in."""
