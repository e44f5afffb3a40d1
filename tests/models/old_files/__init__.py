"""Checkpoints and recipes as version 0.1 wrote them (commit b323c2e): today's code must read them."""

from pathlib import Path

OLD_FILES = Path(__file__).parent
