"""From checkpoint to trusted deployment, for vision networks with operators that no exporter knows."""

from __future__ import annotations

from adroit.version import __version__

__all__ = ["__version__"]
