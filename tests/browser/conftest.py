"""Fixtures: JupyterLab with the callboard of this environment, Chromium, and notebooks open in it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from lab import Lab
from page import Page
from selenium import webdriver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[2]

OPTIONS = [
    "--headless=new",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--lang=en",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A running JupyterLab."""
    server = Lab(tmp_path_factory.mktemp("lab"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    """Chromium, as Debian's packages install it."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.fail("chromium or chromedriver is missing: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in OPTIONS:
        options.add_argument(option)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


@pytest.fixture
def open_notebook(browser: webdriver.Chrome, lab: Lab, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """Opens a notebook on callboard: one with these cells, or a copy of a file. `kernel` is the name of the kernelspec."""

    def open_it(*cells: str, file: Path | None = None, kernel: str = "callboard") -> Page:
        if file is not None:
            notebook = nbformat.read(file, as_version=4)
        else:
            notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
            notebook.metadata.kernelspec = {"name": kernel, "display_name": "Python 3 (callboard)"}
        name = f"{file.stem if file else request.node.originalname}.ipynb"
        nbformat.write(notebook, lab.notebooks / name)
        return Page(browser, f"{lab.url}/lab/tree/{name}?reset&token={lab.token}")

    yield open_it
    browser.get("about:blank")
    lab.shut_kernels_down()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Keeps a screenshot of the browser and the output of the kernel when a test fails."""
    report = yield
    fixtures = getattr(item, "funcargs", {})
    if report.when == "call" and report.failed:
        if "browser" in fixtures:
            picture = REPOSITORY / "out" / f"{item.name}.png"
            picture.parent.mkdir(exist_ok=True)
            fixtures["browser"].save_screenshot(str(picture))
            report.sections.append(("Screenshot", str(picture)))
        if "lab" in fixtures:
            report.sections.append(("JupyterLab's log", fixtures["lab"].log.read_text()[-3000:]))
    return report
