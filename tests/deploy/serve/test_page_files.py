"""The files of the web page: their policy and their colors. What a person does with them is in test_page.py."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.runtimes.choices import OperatorForm
from adroit.deploy.serve.http.page_files import page_files
from tests.deploy.serve.server import Server, running


def test_there_is_no_page_without_its_option(server: Server) -> None:
    assert [server.get(path)[0] for path in ("/", "/page.js", "/page.css")] == [404] * 3


def test_its_files_come_with_a_strict_policy(
    lenet_deployment: Deployment, operators: OperatorForm, tmp_path: Path
) -> None:
    options = ("--page", "--operators", operators.value)
    with running(tmp_path, lenet_deployment.path, *options) as page_server:
        for path in page_files():
            assert page_server.get(f"/{'/'.join(path)}")[0] == 200
        assert page_server.post("/")[0] == 405
        assert page_server.get("/../options.py")[0] == 404
    policy = page_files()[()].headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert "unsafe" not in policy and "http" not in policy
    text = page_files()[()].content.decode()
    assert not re.search(r"\son\w+=|style=|<script>|https?:", text)


def luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_the_contrast_that_wcag_requires(scheme: str) -> None:
    blocks = re.findall(r":root \{(.*?)\}", page_files()[("page.css",)].content.decode(), re.S)
    colors = dict(re.findall(r"--(\w+): (#\w{6});", blocks[["light", "dark"].index(scheme)]))
    for text in ("ink", "quiet", "accent", "wrong"):
        lighter, darker = sorted((luminance(colors[text]), luminance(colors["paper"])), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, scheme)
