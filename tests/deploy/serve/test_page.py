"""The web page of `--page`, in a headless Chromium, as a person uses it."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.runtimes.choices import OperatorForm
from tests.deploy.records import rewritten
from tests.deploy.serve.photographs import enlarged
from tests.deploy.serve.server import Server, running

HOSTILE = "<img src=x onerror=\"document.title='run'\">"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Nothing of the browser's own leaves the machine, and no name but this machine's number is known.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
REFUSED = "Failed to load resource"
# Milliseconds: for what must happen sooner or later; nothing is timed.
PATIENCE = 120_000


@pytest.fixture(scope="module")
def page_server(repository: Path, operators: OperatorForm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server with one more model, whose labels are markup, and one that is damaged."""
    folder = tmp_path_factory.mktemp("page")
    models = shutil.copytree(repository, folder / "models")
    hostile = Deployment.read(shutil.copytree(models / "adder-lenet5-bn", models / "hostile"))
    rewritten(hostile, labels=(HOSTILE,) * 10)
    (models / "damaged").mkdir()
    with running(folder, models, "--page", "--operators", operators.value) as started:
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser to show the page in: none of {', '.join(BROWSERS)} is installed")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS, timeout=PATIENCE)
        yield started
        started.close()


def opened(browser: Any, server: Server, model: str = "", **options: object) -> Any:
    """Open the page in a context of its own; it lists its models, or requests a token."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"http://{server.http}/#{model}")
    page.wait_for_selector("#model:not([disabled]), #sign-in:not([hidden])")
    return page


@pytest.fixture
def page(browser: Any, page_server: Server) -> Iterator[Any]:
    """The page on a large screen; at the end there is no error in the log, and no request went to another host."""
    shown, problems, hosts = opened(browser, page_server), [], set()
    shown.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=f"http://{page_server.http}")
    shown.on("console", lambda entry: problems.append(entry.text) if entry.type in ("error", "warning") else None)
    shown.on("pageerror", lambda error: problems.append(str(error)))
    shown.on("request", lambda request: hosts.add(request.url.removeprefix("blob:").split("/")[2]))
    shown.reload()
    shown.wait_for_selector("#model:not([disabled])")
    yield shown
    shown.context.close()
    assert [text for text in problems if not text.startswith(REFUSED)] == []
    assert hosts == {page_server.http}


@pytest.fixture
def street(photographs: np.ndarray, tmp_path: Path) -> Path:
    """An image of 150 x 170 pixels, which the network pads."""
    image = np.pad(enlarged(photographs[:1])[0], ((0, 22), (0, 10), (0, 0)), mode="edge")
    Image.fromarray(image).save(tmp_path / "street.png")
    return tmp_path / "street.png"


def drop(page: Any, file: Path) -> None:
    """Drag a file into the window, by the browser's own events.

    It is done again where the file was released before the page had answered that it takes files.
    """
    browser = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
    page.evaluate("dropped = false; addEventListener('drop', () => { dropped = true }, { once: true })")
    while not page.evaluate("dropped"):
        for kind in ("dragEnter", "dragOver", "dragOver", "drop"):
            browser.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})


def choose(page: Any, model: str) -> None:
    with page.expect_response(lambda response: response.url.endswith(f"/{model}/predict")):
        page.get_by_label("Model").select_option(model)


def answered(page: Any) -> None:
    page.wait_for_selector("#total:not(:empty)")
    page.wait_for_selector("body:not(.busy) #time:not([hidden])")


def cost(page: Any) -> float:
    """Return the GFLOPs in the title of the route's diagram."""
    return float(page.locator("#route svg text").first.text_content().split()[-2])


def colored(page: Any) -> np.ndarray:
    """Return the overlay's pixels, [H,W,4]."""
    url = page.evaluate("document.getElementById('overlay').toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA"))


def test_a_dropped_image_gets_its_labels(page: Any, page_server: Server, photograph: Path) -> None:
    choose(page, "adder-resnet20")
    drop(page, photograph)
    answered(page)
    _, body = page_server.post("/v2/models/adder-resnet20/predict", photograph.read_bytes())
    predictions = json.loads(body)["predictions"]
    assert page.locator("#classes li span").all_text_contents() == [each["label"] for each in predictions]
    percentages = [f"{100 * each['probability']:.1f} %" for each in predictions]
    assert page.locator("#classes output").all_text_contents() == percentages
    assert page.get_by_role("status").first.text_content() == f"{predictions[0]['label']}, {percentages[0]}"
    assert page.get_by_alt_text("photograph.png").evaluate("image => image.naturalWidth") == 32
    assert page.locator("#parts output").count() == 5
    assert page.locator("#route").is_hidden() and page.locator("#budget").is_hidden()


def test_a_pasted_image_is_taken_too(page: Any, photograph: Path) -> None:
    choose(page, "adder-resnet20")
    copy = """content => navigator.clipboard.write([new ClipboardItem({
        "image/png": new Blob([Uint8Array.from(atob(content), c => c.charCodeAt(0))], {type: "image/png"})})])"""
    page.evaluate(copy, base64.b64encode(photograph.read_bytes()).decode())
    page.keyboard.press("Control+V")
    answered(page)
    assert page.locator("#classes li").count() == 5


def test_a_segmentation_is_colored_with_a_legend_and_the_route(page: Any, page_server: Server, street: Path) -> None:
    choose(page, "routed")
    drop(page, street)
    answered(page)
    _, body = page_server.post("/v2/models/routed/predict", street.read_bytes())
    shares = {each["label"]: each["share"] for each in json.loads(body)["shares"]}
    legend = dict(
        zip(page.locator("#classes span").all_text_contents(), page.locator("#classes output").all_text_contents(),
            strict=True)
    )  # fmt: skip
    assert legend == {f"class {label}": f"{100 * share:.1f} %" for label, share in shares.items()}
    pixels = colored(page)
    assert pixels.shape == (150, 170, 4)
    _, counts = np.unique(pixels.reshape(-1, 4), axis=0, return_counts=True)
    assert sorted(counts / counts.sum()) == pytest.approx(sorted(shares.values()))
    assert (pixels[..., 3] == 255).all()
    first = page.locator("#classes button").first
    first.click()
    assert first.get_attribute("aria-pressed") == "true"
    assert (colored(page)[..., 3] == 255).mean() == pytest.approx(max(shares.values()))
    first.click()
    assert (colored(page)[..., 3] == 255).all()
    assert "GFLOPs" in page.get_by_role("img", name="the image's route").text_content()
    assert page.locator("#route svg line").count() == 19  # the paths


def test_the_slider_lowers_what_an_image_costs(page: Any, street: Path) -> None:
    choose(page, "routed")
    slider = page.get_by_role("slider", name="Budget")
    assert slider.get_attribute("max") == "2"  # the three settings of its table
    drop(page, street)
    answered(page)
    most_expensive = cost(page)
    slider.focus()
    with page.expect_response(re.compile("gate_threshold=1$")):
        page.keyboard.press("Home")
    answered(page)
    assert cost(page) < most_expensive
    assert page.locator("#amount").text_content() == "0.1 GFLOPs" == slider.get_attribute("aria-valuetext")
    assert "Gate threshold 1." in page.locator("#meaning").text_content()


def test_errors_are_said_in_words(page: Any, photograph: Path, tmp_path: Path) -> None:
    alert = page.get_by_role("alert")
    (tmp_path / "notes.txt").write_text("no image")
    drop(page, tmp_path / "notes.txt")
    assert alert.text_content() == "notes.txt is no image. PNG, JPEG, WebP and BMP are read."
    choose(page, "routed")
    drop(page, photograph)
    page.get_by_role("alert").filter(has_text="refused").wait_for()
    assert "input image" in alert.text_content()
    assert page.locator("#route").is_hidden() and page.locator("#time").is_hidden()
    (tmp_path / "broken.png").write_bytes(photograph.read_bytes()[:100])
    drop(page, tmp_path / "broken.png")
    page.get_by_role("alert").filter(has_text="not a readable").wait_for()
    choose(page, "adder-resnet20")
    drop(page, photograph)
    answered(page)
    assert alert.is_hidden()


def test_a_server_that_is_gone_is_said(
    browser: Any, lenet_deployment: Deployment, photograph: Path, tmp_path: Path
) -> None:
    with running(tmp_path, lenet_deployment.path, "--page") as server:
        page = opened(browser, server)
        page.wait_for_selector("#model option:not([disabled])", state="attached")
        server.stop()
        drop(page, photograph)
        page.get_by_role("alert").filter(has_text="does not answer").wait_for()
        page.context.close()


def test_models_that_are_not_ready_cannot_be_chosen(page: Any) -> None:
    option = page.locator("#model option[value=damaged]")
    assert option.text_content() == "damaged (not ready)"
    assert option.is_disabled()
    assert "adroit.json" in option.get_attribute("title")


def test_labels_are_text_and_the_page_runs_no_script_but_its_own(page: Any, photograph: Path) -> None:
    choose(page, "hostile")
    drop(page, photograph)
    answered(page)
    assert page.locator("#classes span").first.text_content() == HOSTILE
    assert page.locator("#classes img").count() == 0
    assert page.title() == "adroit"


def test_the_policy_stops_a_script_that_got_in(browser: Any, page_server: Server) -> None:
    page = opened(browser, page_server)
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'document.title = 1'}))")
    assert page.title() == "adroit"
    assert page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', error => error.message)") == "Failed to fetch"
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_without_scrolling_sideways(
    scheme: str, browser: Any, page_server: Server, street: Path
) -> None:
    size = {"width": 320, "height": 640}
    page = opened(browser, page_server, "routed", viewport=size, color_scheme=scheme, has_touch=True)
    page.wait_for_selector("#budget:not([hidden])")
    widths = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    assert page.evaluate(widths) == [320, 320]
    page.get_by_label("Drop an image here").set_input_files(street)
    answered(page)
    assert page.evaluate(widths) == [320, 320]
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 23, 31)"
    assert dark == (scheme == "dark")
    page.context.close()


def test_it_can_be_used_by_keyboard_alone(page: Any, street: Path) -> None:
    choose(page, "routed")
    drop(page, street)
    answered(page)
    page.evaluate("document.activeElement.blur()")
    reached = []
    focused = "document.activeElement.id || document.activeElement.closest('li')?.parentElement.id"
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(focused))
    order = list(dict.fromkeys(reached))
    assert [each for each in order if each] == ["model", "opacity", "file", "classes", "slider", "route-diagram"]
    controls = "[...document.querySelectorAll('input:not([hidden]), select, button')]"
    assert page.evaluate(f"{controls}.filter(e => !e.labels?.length && !e.textContent).map(e => e.outerHTML)") == []


def test_the_page_requests_the_token(
    browser: Any, lenet_deployment: Deployment, photograph: Path, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("secret-of-the-tests\n")
    with running(tmp_path, lenet_deployment.path, "--page", "--token-file", tmp_path / "token") as server:
        page = opened(browser, server)
        page.get_by_label("token").fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_role("alert").filter(has_text="does not know").wait_for()
        page.get_by_label("token").fill("secret-of-the-tests")
        page.get_by_role("button", name="Continue").click()
        page.wait_for_selector("#bench:not([hidden])")
        page.wait_for_selector("#model:not([disabled])")
        drop(page, photograph)
        answered(page)
        assert page.locator("#classes li").count() == 5
        page.context.close()
