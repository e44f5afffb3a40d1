"""What serving needs beside the rest: without it, everything else works, and `adroit serve` says what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.serve.conftest import MISSING


def test_the_other_tests_of_serving_ran() -> None:
    if MISSING:
        pytest.skip(f"{', '.join(MISSING)} not installed, so serving is not tested: pip install '.[serve,dev]'")


def test_without_its_packages_serve_names_the_first_that_is_missing(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "from deploy.cli.main import main\n"
        f"main(['serve', {str(tmp_path)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 5
    assert "adroit-deploy[serve]" in done.stderr
    assert "Traceback" not in done.stderr
