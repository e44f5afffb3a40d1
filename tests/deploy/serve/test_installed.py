"""What serving needs beside the rest: without it, everything else works, and `adroit serve` says what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.deploy.serve.conftest import MISSING


def test_the_other_tests_of_serving_ran() -> None:
    if MISSING:
        pytest.skip(f"{', '.join(MISSING)} not installed, so serving is not tested: pip install '.[serve,dev]'")


def test_without_its_packages_serve_names_the_first_that_is_missing(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "from adroit.deploy.cli.main import main\n"
        f"main(['serve', {str(tmp_path)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 5
    assert "adroit-deploy[serve]" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_loads_neither_torch_nor_the_tools_for_onnx() -> None:
    """They would be most of its memory and of its start."""
    if MISSING:
        pytest.skip("serving is not installed")
    code = (
        "import sys, adroit.deploy.serve.server, adroit.deploy.runtimes.open\n"
        "print(sorted({'torch', 'onnx', 'onnx_ir', 'onnxscript', 'sympy', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
